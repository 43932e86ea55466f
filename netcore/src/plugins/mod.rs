//! Plugins, as every part of the node that serves them knows them: what their grants cover ([`grants`]), and what they
//! use of the node ([`account`]). [`crate::gateway`] holds both for each launch; [`crate::link`] adds to the account of
//! a call.

pub mod account;
pub mod grants;
