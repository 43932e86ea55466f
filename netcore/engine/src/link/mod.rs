//! Links between two netcores: [`credit`], the flow control of streams between their plugins.

pub mod credit;
