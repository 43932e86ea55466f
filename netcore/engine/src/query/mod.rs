//! Questions between netcores: [`admission`] says whose question is answered now. Netcore's `query` asks and answers.

pub mod admission;
