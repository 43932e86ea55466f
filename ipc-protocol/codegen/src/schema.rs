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
use serde_json::{Value, json};
use serde_reflection::{ContainerFormat, Format, Named, Registry, Samples, Tracer, TracerConfig, VariantFormat};

use crate::message::{Message, ROOTS};

/// Enums that may grow within a version: an unknown tag does not end the session.
pub(crate) const GROWING: [&str; 3] = ["Request", "Response", "Event"];

/// Lists the types that the generated files treat as values of their language, with a valid value each: names are
/// checked when decoded, so that tracing has to start with valid ones.
macro_rules! natural {
    ($($name:ident = $value:expr;)*) => {
        /// Types that the generated files treat as values of their language. The SDKs encode and decode them by hand.
        pub(crate) const NATURAL: &[&str] = &[$(stringify!($name)),*];

        fn trace_natural(tracer: &mut Tracer, samples: &mut Samples) {
            $({
                let value: $name = $value;
                let _ = tracer.trace_value(samples, &value).expect("a valid value can be traced");
            })*
        }

        /// The JSON form of a valid value.
        fn natural(name: &str) -> Option<Value> {
            match name {
                $(stringify!($name) => {
                    let value: $name = $value;
                    Some(serde_json::to_value(value).expect("it has a JSON form"))
                })*
                _ => None,
            }
        }
    };
}

natural! {
    NodeId = NodeId(bytes(0x20));
    Secret = Secret(bytes(0x60));
    Hash = Hash(bytes(0x80));
    Signature = Signature([bytes(0xa0), bytes(0xc0)].concat().try_into().expect("64 bytes"));
    PluginId = "chat".parse().expect("a plugin id");
    Protocol = "chat/1".parse().expect("a protocol");
    Pattern = "chat/*".parse().expect("a pattern");
    Name = "chat/news".parse().expect("a name");
    Ticket = Ticket { node: NodeId(bytes(0x20)), addresses: Vec::new() };
    Payload = b"hi".to_vec().into();
}

/// 32 bytes that count up from `first`: a shifted field shows.
fn bytes(first: u8) -> [u8; 32] {
    std::array::from_fn(|index| first + index as u8)
}

/// Every type, by name.
#[derive(Debug, PartialEq)]
pub struct Schema(Registry);

/// The fields of a struct or variant. The name of a variant's one unnamed field is `value`.
pub type Fields = Vec<(String, Format)>;

/// A variant of an enum.
#[derive(Debug)]
pub struct Variant {
    pub tag: u32,
    pub name: String,
    pub fields: Fields,
    /// Its one field has no name: in JSON it stands alone.
    pub unnamed: bool,
}

/// A type the generators write code for.
#[derive(Debug)]
pub enum Shape {
    Struct(Fields),
    Enum(Vec<Variant>),
}

/// A variant by name.
#[derive(Debug)]
pub(crate) struct VariantOf {
    pub(crate) container: String,
    pub(crate) variant: String,
}

impl Schema {
    /// All types of the gateway.
    ///
    /// # Panics
    ///
    /// If an enum inside another type is not in the list below.
    pub fn trace() -> Self {
        let mut tracer = Tracer::new(TracerConfig::default());
        let mut samples = Samples::new();
        trace_natural(&mut tracer, &mut samples);
        macro_rules! types {
            ($($name:ty),*) => { $(tracer.trace_type::<$name>(&samples).expect("types can be traced");)* };
        }
        types!(Target, PeerScope, Origin, Scope, CallMode, Path, Validation, Verdict, Reach, NetworkChange);
        types!(Request, Response, Event);
        types!(Opening, OpeningReply, ClientFrame, ServerFrame);
        Self(tracer.registry().expect("every enum is in the list above"))
    }

    /// The types and variants that the messages contain: the whole schema if they contain every variant of every type.
    ///
    /// # Panics
    ///
    /// If a list is empty wherever it appears.
    pub fn of(messages: &[Message]) -> Self {
        let (mut tracer, mut samples) = (Tracer::new(TracerConfig::default()), Samples::new());
        for message in messages {
            let traced = match message {
                Message::Opening(message) => tracer.trace_value(&mut samples, message),
                Message::Reply(message) => tracer.trace_value(&mut samples, message),
                Message::Client(message) => tracer.trace_value(&mut samples, message),
                Message::Server(message) => tracer.trace_value(&mut samples, message),
            };
            traced.unwrap_or_else(|error| unreachable!("{message:?} can be traced: {error}"));
        }
        Self(tracer.registry().expect("every list has an entry somewhere"))
    }

    /// The schema as serde-reflection writes it.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.0).expect("a registry is data") + "\n"
    }

    /// The shape of the type `name`.
    pub fn shape(&self, name: &str) -> Shape {
        match &self.0[name] {
            ContainerFormat::Struct(fields) => Shape::Struct(named(fields)),
            ContainerFormat::Enum(variants) => Shape::Enum(variants.iter().map(|(tag, v)| variant(*tag, v)).collect()),
            other => unreachable!("{name} is of a form no message has: {other:?}"),
        }
    }

    /// Names of all types with generated code, each after those that it contains.
    pub fn order(&self) -> Vec<String> {
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
            if let Some(used) = type_name(format) {
                self.visit(used, seen, order);
            }
        }
        order.push(name.to_owned());
    }

    /// Every variant of every enum.
    pub(crate) fn variants(&self) -> Vec<VariantOf> {
        let variants = |container: String| match self.shape(&container) {
            Shape::Struct(_) => Vec::new(),
            Shape::Enum(variants) => variants
                .into_iter()
                .map(|variant| VariantOf { container: container.clone(), variant: variant.name })
                .collect(),
        };
        self.order().into_iter().flat_map(variants).collect()
    }

    /// Whether the schema contains a variant.
    pub(crate) fn has(&self, VariantOf { container, variant }: &VariantOf) -> bool {
        self.0.contains_key(container)
            && match self.shape(container) {
                Shape::Struct(_) => false,
                Shape::Enum(variants) => variants.iter().any(|traced| traced.name == *variant),
            }
    }

    /// The type and the JSON form of a message that contains the variant.
    pub(crate) fn sample_of(&self, wanted: &VariantOf) -> (&'static str, Value) {
        let holds = |root: &&str| self.holds(&Format::TypeName((*root).to_owned()), &wanted.container);
        let root = ROOTS.into_iter().find(holds).expect("every type is part of a message");
        (root, self.sample(&Format::TypeName(root.to_owned()), wanted))
    }

    /// Whether a value of `format` can contain one of the type `container`.
    fn holds(&self, format: &Format, container: &str) -> bool {
        let Some(name) = type_name(format).filter(|name| !NATURAL.contains(name)) else { return false };
        let any = |fields: &Fields| fields.iter().any(|(_, format)| self.holds(format, container));
        name == container
            || match self.shape(name) {
                Shape::Struct(fields) => any(&fields),
                Shape::Enum(variants) => variants.iter().any(|variant| any(&variant.fields)),
            }
    }

    /// The JSON form of a value of `format`, which contains the variant if it can.
    fn sample(&self, format: &Format, wanted: &VariantOf) -> Value {
        let object = |fields: &Fields| -> Value {
            fields.iter().map(|(name, format)| (name.clone(), self.sample(format, wanted))).collect()
        };
        match format {
            Format::Bool => json!(true),
            Format::U32 | Format::U64 => json!(1),
            Format::Str => json!("text"),
            Format::Seq(item) => json!([self.sample(item, wanted)]),
            Format::Option(item) => self.sample(item, wanted),
            Format::TypeName(name) if NATURAL.contains(&name.as_str()) => natural(name).expect("it is one of them"),
            Format::TypeName(name) => match self.shape(name) {
                Shape::Struct(fields) => object(&fields),
                Shape::Enum(variants) => {
                    let is_wanted = |variant: &&Variant| match *name == wanted.container {
                        true => variant.name == wanted.variant,
                        false => variant.fields.iter().any(|(_, format)| self.holds(format, &wanted.container)),
                    };
                    let Variant { name, fields, unnamed, .. } = variants.iter().find(is_wanted).unwrap_or(&variants[0]);
                    match &fields[..] {
                        [] => json!(name),
                        [(_, format)] if *unnamed => json!({ name: self.sample(format, wanted) }),
                        _ => json!({ name: object(fields) }),
                    }
                }
            },
            other => unreachable!("no message has {other:?}"),
        }
    }
}

/// The named type inside lists and options.
fn type_name(format: &Format) -> Option<&str> {
    match format {
        Format::Seq(item) | Format::Option(item) => type_name(item),
        Format::TypeName(name) => Some(name),
        _ => None,
    }
}

/// The largest number of entries of a list, where the specification limits it.
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
