//! What nodes do that want harm, and what it costs the others.
