//! The types that cross the gateway, traced through serde.

use std::collections::BTreeSet;

use polypeer_ipc_protocol::gateway::{
    CallMode, ClientFrame, Event, NetworkChange, Opening, OpeningReply, Origin, Path, Payload, PeerScope, Reach,
    Request, Response, Scope, ServerFrame, Target, Validation, Verdict,
};
use polypeer_ipc_protocol::ids::{Hash, Name, NodeId, Pattern, PluginId, Protocol, Secret};
use polypeer_ipc_protocol::limits::MAX_VERSIONS;
use polypeer_ipc_protocol::record::Signature;
use polypeer_ipc_protocol::ticket::Ticket;
use serde_reflection::{ContainerFormat, Format, Named, Registry, Samples, Tracer, TracerConfig, VariantFormat};

use crate::vectors::Message;

/// What travels as one frame's body.
pub(crate) const ROOTS: [&str; 4] = ["Opening", "OpeningReply", "ClientFrame", "ServerFrame"];
/// Enums that may grow within a version: an unknown tag is not an error of the session.
pub(crate) const GROWING: [&str; 3] = ["Request", "Response", "Event"];
/// Types that the generated files treat as values of their language, with code written by hand.
pub(crate) const NATURAL: [&str; 10] =
    ["NodeId", "Secret", "Hash", "Signature", "PluginId", "Protocol", "Pattern", "Name", "Ticket", "Payload"];

/// Every type, by name.
#[derive(PartialEq)]
pub(crate) struct Schema(Registry);

/// A struct's fields, an enum variant's fields, or a variant's one unnamed value under the name `value`.
pub(crate) type Fields = Vec<(String, Format)>;

/// What an enum variant holds.
pub(crate) struct Variant {
    pub(crate) tag: u32,
    pub(crate) name: String,
    pub(crate) fields: Fields,
    /// The one field has no name: in JSON it stands alone.
    pub(crate) unnamed: bool,
}

/// A type the generators write code for.
pub(crate) enum Shape {
    Struct(Fields),
    Enum(Vec<Variant>),
}

impl Schema {
    /// Traces everything. Names are validated when read, so valid samples go first.
    pub(crate) fn trace() -> Self {
        let mut tracer = Tracer::new(TracerConfig::default());
        let mut samples = Samples::new();
        let node = NodeId([0; 32]);
        let sample = |traced: serde_reflection::Result<_>| drop(traced.expect("samples can be traced"));
        sample(tracer.trace_value(&mut samples, &node));
        sample(tracer.trace_value(&mut samples, &Secret([0; 32])));
        sample(tracer.trace_value(&mut samples, &"plugin".parse::<PluginId>().expect("valid")));
        sample(tracer.trace_value(&mut samples, &"name/1".parse::<Protocol>().expect("valid")));
        sample(tracer.trace_value(&mut samples, &"name/*".parse::<Pattern>().expect("valid")));
        sample(tracer.trace_value(&mut samples, &"name".parse::<Name>().expect("valid")));
        sample(tracer.trace_value(&mut samples, &Hash([0; 32])));
        sample(tracer.trace_value(&mut samples, &Signature([0; 64])));
        sample(tracer.trace_value(&mut samples, &Ticket { node, addresses: Vec::new() }));
        sample(tracer.trace_value(&mut samples, &Payload::default()));
        macro_rules! types {
            ($($name:ty),*) => { $(tracer.trace_type::<$name>(&samples).expect("types can be traced");)* };
        }
        types!(Target, PeerScope, Origin, Scope, CallMode, Path, Validation, Verdict, Reach, NetworkChange);
        types!(Request, Response, Event);
        types!(Opening, OpeningReply, ClientFrame, ServerFrame);
        Self(tracer.registry().expect("every variant was traced"))
    }

    /// What shows in the given messages: the whole schema when every variant of every type is among them.
    pub(crate) fn of(messages: &[(&str, Message)]) -> Self {
        let (mut tracer, mut samples) = (Tracer::new(TracerConfig::default()), Samples::new());
        for (name, message) in messages {
            let traced = match message {
                Message::Opening(message) => tracer.trace_value(&mut samples, message),
                Message::Reply(message) => tracer.trace_value(&mut samples, message),
                Message::Client(message) => tracer.trace_value(&mut samples, message),
                Message::Server(message) => tracer.trace_value(&mut samples, message),
            };
            traced.unwrap_or_else(|error| unreachable!("{name} can be traced: {error}"));
        }
        Self(tracer.registry().expect("every list has an entry somewhere"))
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.0).expect("a registry is data") + "\n"
    }

    pub(crate) fn shape(&self, name: &str) -> Shape {
        match &self.0[name] {
            ContainerFormat::Struct(fields) => Shape::Struct(named(fields)),
            ContainerFormat::Enum(variants) => Shape::Enum(variants.iter().map(|(tag, v)| variant(*tag, v)).collect()),
            other => unreachable!("{name} is of a form no message has: {other:?}"),
        }
    }

    /// Names of all types with code of their own; each comes after those it is made of.
    pub(crate) fn order(&self) -> Vec<String> {
        let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
        for root in ROOTS {
            self.visit(root, &mut seen, &mut order);
        }
        order
    }

    fn visit(&self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        if NATURAL.contains(&name) || !seen.insert(name.to_owned()) {
            return;
        }
        let fields: Fields = match self.shape(name) {
            Shape::Struct(fields) => fields,
            Shape::Enum(variants) => variants.into_iter().flat_map(|variant| variant.fields).collect(),
        };
        for (_, format) in &fields {
            let mut inner = format;
            while let Format::Seq(item) | Format::Option(item) = inner {
                inner = item;
            }
            if let Format::TypeName(used) = inner {
                self.visit(used, seen, order);
            }
        }
        order.push(name.to_owned());
    }
}

/// How many entries a list may have, where the specification says.
pub(crate) fn list_limit(container: &str, field: &str) -> Option<usize> {
    (container == "Opening" && field == "versions").then_some(MAX_VERSIONS)
}

/// `SomeName` as `some_name`.
pub(crate) fn snake(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

fn named(fields: &[Named<Format>]) -> Fields {
    fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
}

fn variant(tag: u32, variant: &Named<VariantFormat>) -> Variant {
    let (fields, unnamed) = match &variant.value {
        VariantFormat::Unit => (Vec::new(), false),
        VariantFormat::NewType(format) => (vec![("value".to_owned(), (**format).clone())], true),
        VariantFormat::Struct(fields) => (named(fields), false),
        other => unreachable!("a variant of a form no message has: {other:?}"),
    };
    Variant { tag, name: variant.name.clone(), fields, unnamed }
}
