//! The machine as a whole: alone against bad peers, in a world of many, and against random operations.

mod among;
mod delivery;
mod examples;
mod hostile;
mod random;
mod rates;
mod standing;
mod world;
