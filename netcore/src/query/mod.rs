//! Short-lived connections for questions between netcores.
