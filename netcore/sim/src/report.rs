//! The figures of a run, as one JSON object or as a table for people.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

/// The figures of one run. `None`: the scenario does not measure it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    pub scenario: String,
    /// Honest nodes at a time.
    pub nodes: u64,
    pub seed: u64,
    /// Share of lookups that succeeded, 0 to 1.
    pub lookup_success: Option<f64>,
    /// Mean hops of a lookup.
    pub hops_mean: Option<f64>,
    /// Mean requests and responses of a lookup.
    pub messages_per_lookup: Option<f64>,
    /// Mean connections opened for a lookup.
    pub handshakes_per_lookup: Option<f64>,
    /// Mean bytes of a lookup on the wire, handshakes included.
    pub bytes_per_lookup: Option<f64>,
    /// Share of expected deliveries made by the deadline, 0 to 1.
    pub gossip_delivery: Option<f64>,
    /// Frames with a payload received per delivery.
    pub gossip_payload_overhead: Option<f64>,
    /// Bytes sent except payloads, per delivery.
    pub gossip_control_bytes: Option<f64>,
    /// Mean memory of a routing table, bytes.
    pub table_bytes_mean: Option<f64>,
    /// Time from start to having joined that 99 % of nodes did not exceed, milliseconds.
    pub join_ms_p99: Option<u64>,
    /// Wall clock time of the run, seconds.
    pub wall_s: f64,
    /// Further figures of this scenario.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Figures {
    /// Adds a further figure.
    pub fn also(&mut self, name: &str, value: impl Into<Value>) {
        let value = match value.into() {
            Value::Number(number) if number.is_f64() => number.as_f64().map_or(Value::Null, rounded),
            other => other,
        };
        self.more.insert(name.to_owned(), value);
    }

    /// Formats the figures as one line of JSON.
    pub fn json(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            for (_, field) in fields.iter_mut() {
                if let Value::Number(number) = field
                    && number.is_f64()
                {
                    *field = number.as_f64().map_or(Value::Null, rounded);
                }
            }
        }
        value.to_string()
    }

    /// Formats the figures as a table.
    pub fn table(&self) -> String {
        let mut text = format!("{} · {} nodes · seed {}\n", self.scenario, self.nodes, self.seed);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<44}{value:>14}");
        };
        let part = |value: Option<f64>| value.map(|value| format!("{:.3} %", value * 100.0));
        let number = |value: Option<f64>| value.map(|value| format!("{value:.2}"));
        let rows = [
            ("lookups that succeed", part(self.lookup_success)),
            ("hops, mean", number(self.hops_mean)),
            ("messages per lookup", number(self.messages_per_lookup)),
            ("handshakes per lookup", number(self.handshakes_per_lookup)),
            ("bytes per lookup", number(self.bytes_per_lookup)),
            ("gossip: live subscribers reached", self.gossip_delivery.map(|value| format!("{:.4} %", value * 100.0))),
            ("gossip: payload copies per subscriber", number(self.gossip_payload_overhead)),
            ("gossip: control bytes per delivery", number(self.gossip_control_bytes)),
            ("routing table, bytes, mean", number(self.table_bytes_mean)),
            ("join, ms, 99 %", self.join_ms_p99.map(|value| value.to_string())),
            ("wall clock, s", number(Some(self.wall_s))),
        ];
        for (name, value) in rows {
            if let Some(value) = value {
                line(name, value);
            }
        }
        for (name, value) in &self.more {
            line(name, value.to_string());
        }
        text
    }
}

/// Rounds to six decimals; whole numbers become integers.
fn rounded(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return Value::from(number as i64);
    }
    Value::from((number * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_named_as_promised_and_null_where_not_measured() {
        let mut figures = Figures { scenario: "steady".to_owned(), nodes: 10, ..Figures::default() };
        figures.lookup_success = Some(0.999_123_456_7);
        figures.also("records_found", 1.0);
        let value: Value = serde_json::from_str(&figures.json()).expect("JSON");
        let fields = value.as_object().expect("an object");
        for name in [
            "nodes",
            "seed",
            "lookup_success",
            "hops_mean",
            "messages_per_lookup",
            "handshakes_per_lookup",
            "bytes_per_lookup",
            "gossip_delivery",
            "gossip_payload_overhead",
            "gossip_control_bytes",
            "table_bytes_mean",
            "join_ms_p99",
            "wall_s",
        ] {
            assert!(fields.contains_key(name), "{name} is missing");
        }
        assert_eq!((&fields["hops_mean"], &fields["nodes"]), (&Value::Null, &Value::from(10)));
        assert_eq!(fields["lookup_success"], Value::from(0.999_123));
        assert_eq!(fields["records_found"], Value::from(1));
        assert!(figures.table().contains("lookups that succeed"));
    }
}
