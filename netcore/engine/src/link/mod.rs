//! Flow control between two netcores.

pub mod credit;
