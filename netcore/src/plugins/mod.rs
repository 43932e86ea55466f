//! Plugins, as all parts of the node that serve them know them: checks of their grants ([`grants`]) and accounts of
//! their use of the node ([`account`]). [`crate::gateway`] holds both for each launch; [`crate::link`] adds to the
//! account of a call.

pub mod account;
pub mod grants;
