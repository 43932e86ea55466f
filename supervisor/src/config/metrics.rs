//! `[metrics]`: where metrics can be read besides the socket in the home.

use std::net::SocketAddr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// A loopback address for `http://ADDRESS/metrics`; none by default.
    #[serde(deserialize_with = "loopback")]
    pub listen: Option<SocketAddr>,
}

/// An address of this machine alone: metrics name peers' counters and plugins, and nothing here asks who reads them.
fn loopback<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address: SocketAddr = text.parse().map_err(|_| {
        D::Error::custom(format!("{text:?} is not a socket address; expected IP:PORT such as 127.0.0.1:9470"))
    })?;
    if !address.ip().is_loopback() {
        return Err(D::Error::custom(format!(
            "{address} is not a loopback address: anybody who can reach it could read the metrics; expected one such as \
             127.0.0.1:{}, with a proxy that asks for a password before it if others are to read them",
            address.port()
        )));
    }
    Ok(Some(address))
}
