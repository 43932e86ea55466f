//! Questions between netcores: [`admission`] decides which are answered now. Netcore's `query` sends and answers them.

pub mod admission;
