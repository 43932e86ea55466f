//! The Python SDK's `_messages.py`: a dataclass for each struct and variant, functions to read and write them.

use std::fmt::Write;

use serde_reflection::Format;

use crate::message::ROOTS;
use crate::schema::{GROWING, Schema, Shape, Variant, list_limit, snake};

const HEAD: &str = r#"# Generated from ipc-protocol/src by `make generate`. Do not edit: a test fails when this file is not what that makes.
"""The gateway's messages as Python values, and their bytes; ``ipc-protocol/SPEC.md`` says what they mean.

An enum ``E`` with a variant ``V`` is the class ``EV``; ``E`` itself is the union of them. A variant's one unnamed value
is its field ``value``. ``encode_<enum>`` and ``decode_<enum>`` exist for what travels as one frame's body. Node ids,
secrets, hashes, signatures and payloads are ``bytes``; names and tickets are ``str``, checked when read and when
written. Nothing changes a message once it is made; ``frozen=True`` would make each four times as slow to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Tuple, Union

from ._codec import Data, DecodeError, Reader, UnknownTag, Writer, decode, encode
from ._names import node_text
"#;

pub(crate) fn generate(schema: &Schema) -> String {
    let mut out = HEAD.to_owned();
    for name in schema.order() {
        match schema.shape(&name) {
            Shape::Struct(fields) => structure(&mut out, &name, &fields),
            Shape::Enum(variants) => enumeration(&mut out, &name, &variants),
        }
        if ROOTS.contains(&name.as_str()) {
            root(&mut out, &name);
        }
    }
    out
}

macro_rules! line {
    ($out:expr, $($text:tt)*) => { writeln!($out, $($text)*).expect("writing to a string") };
}

fn class(out: &mut String, name: &str, fields: &[(String, Format)]) {
    line!(out, "\n\n@dataclass(unsafe_hash=True)\nclass {name}:");
    for (field, format) in fields {
        line!(out, "    {field}: {}", type_of(format));
    }
    if fields.is_empty() {
        line!(out, "    pass");
    }
}

fn structure(out: &mut String, name: &str, fields: &[(String, Format)]) {
    class(out, name, fields);
    let function = snake(name);
    line!(out, "\n\ndef _read_{function}(r: Reader) -> {name}:\n    return {name}({})", reads(name, fields));
    line!(out, "\n\ndef _write_{function}(w: Writer, v: {name}) -> None:");
    for (field, format) in fields {
        write_value(out, "    ", &format!("v.{field}"), format);
    }
    line!(out, "\n\ndef _json_{function}(v: {name}) -> Any:\n    return {}", object(fields));
}

fn enumeration(out: &mut String, name: &str, variants: &[Variant]) {
    for variant in variants {
        class(out, &format!("{name}{}", variant.name), &variant.fields);
    }
    line!(out, "\n\n{name} = Union[");
    for variant in variants {
        line!(out, "    {name}{},", variant.name);
    }
    line!(out, "]");
    let function = snake(name);
    line!(out, "\n\ndef _read_{function}(r: Reader) -> {name}:\n    tag = r.u32()");
    for Variant { tag, name: variant, fields, .. } in variants {
        line!(out, "    if tag == {tag}:\n        return {name}{variant}({})", reads(name, fields));
    }
    let error = if GROWING.contains(&name) { "UnknownTag" } else { "DecodeError" };
    line!(out, "    raise {error}(f\"unknown {name} {{tag}}\")");
    line!(out, "\n\ndef _write_{function}(w: Writer, v: {name}) -> None:");
    for (index, Variant { tag, name: variant, fields, .. }) in variants.iter().enumerate() {
        let keyword = if index == 0 { "if" } else { "elif" };
        line!(out, "    {keyword} isinstance(v, {name}{variant}):\n        w.u32({tag})");
        for (field, format) in fields {
            write_value(out, "        ", &format!("v.{field}"), format);
        }
    }
    line!(out, "    else:\n        raise TypeError(f\"not a {name}: {{v!r}}\")");
    line!(out, "\n\ndef _json_{function}(v: {name}) -> Any:");
    for Variant { name: variant, fields, unnamed, .. } in variants {
        let value = match (&fields[..], unnamed) {
            ([], _) => format!("\"{variant}\""),
            ([(field, format)], true) => format!("{{\"{variant}\": {}}}", json(&format!("v.{field}"), format)),
            _ => format!("{{\"{variant}\": {}}}", object(fields)),
        };
        line!(out, "    if isinstance(v, {name}{variant}):\n        return {value}");
    }
    line!(out, "    raise TypeError(f\"not a {name}: {{v!r}}\")");
}

fn root(out: &mut String, name: &str) {
    let function = snake(name);
    line!(
        out,
        r#"

def encode_{function}(v: {name}) -> bytes:
    """The body of a frame. Raises :class:`ValueError` when it is over the limit, or a name breaks its rule."""
    return encode(_write_{function}, v)


def decode_{function}(data: Data) -> {name}:
    """Reads the body of a frame, to its last byte. Raises :class:`DecodeError`."""
    return decode(_read_{function}, data)


def {function}_to_json(v: {name}) -> Any:
    """The form that the vectors have."""
    return _json_{function}(v)"#
    );
}

fn type_of(format: &Format) -> String {
    match format {
        Format::U32 | Format::U64 => "int".into(),
        Format::Bool => "bool".into(),
        Format::Str => "str".into(),
        Format::Seq(item) => format!("Tuple[{}, ...]", type_of(item)),
        Format::Option(item) => format!("Optional[{}]", type_of(item)),
        Format::TypeName(name) => match name.as_str() {
            "NodeId" | "Secret" | "Hash" | "Signature" | "Payload" => "bytes".into(),
            "PluginId" | "Protocol" | "Pattern" | "Name" | "Ticket" => "str".into(),
            _ => name.clone(),
        },
        other => unreachable!("no message has {other:?}"),
    }
}

/// The reader's method or the function for a type: `r.u32()` or `_read_target(r)`.
fn reader(format: &Format) -> (bool, String) {
    match format {
        Format::U32 => (true, "u32".into()),
        Format::U64 => (true, "u64".into()),
        Format::Bool => (true, "bool".into()),
        Format::Str => (true, "string".into()),
        Format::TypeName(name) => match name.as_str() {
            "NodeId" | "Secret" | "Hash" => (true, "bytes32".into()),
            "Signature" => (true, "bytes64".into()),
            "Payload" => (true, "bytes".into()),
            "PluginId" | "Protocol" | "Pattern" | "Name" | "Ticket" => (true, snake(name)),
            _ => (false, format!("_read_{}", snake(name))),
        },
        other => unreachable!("no message has {other:?}"),
    }
}

fn reads(container: &str, fields: &[(String, Format)]) -> String {
    let read = |(field, format): &(String, Format)| match format {
        Format::Option(item) => {
            let (method, function) = reader(item);
            format!("r.option({})", if method { format!("Reader.{function}") } else { function })
        }
        Format::Seq(item) => {
            let (method, function) = reader(item);
            let function = if method { format!("Reader.{function}") } else { function };
            let limit = list_limit(container, field).map(|limit| format!(", {limit}")).unwrap_or_default();
            format!("r.list({function}{limit})")
        }
        single => match reader(single) {
            (true, method) => format!("r.{method}()"),
            (false, function) => format!("{function}(r)"),
        },
    };
    fields.iter().map(read).collect::<Vec<_>>().join(", ")
}

fn write_value(out: &mut String, indent: &str, value: &str, format: &Format) {
    if let Format::Seq(item) = format {
        // Named for its type: the loops of several variants stand in one function.
        let each = if let Format::TypeName(name) = &**item { snake(name) } else { "item".to_owned() };
        line!(out, "{indent}w.u64(len({value}))\n{indent}for {each} in {value}:");
        return write_value(out, &format!("{indent}    "), &each, item);
    }
    if let Format::Option(item) = format {
        line!(out, "{indent}w.bool({value} is not None)\n{indent}if {value} is not None:");
        return write_value(out, &format!("{indent}    "), value, item);
    }
    match reader(format) {
        (true, method) => line!(out, "{indent}w.{method}({value})"),
        (false, function) => line!(out, "{indent}{}(w, {value})", function.replace("_read_", "_write_")),
    }
}

fn json(value: &str, format: &Format) -> String {
    match format {
        Format::Seq(item) => match json("item", item) {
            plain if plain == "item" => format!("list({value})"),
            each => format!("[{each} for item in {value}]"),
        },
        Format::Option(item) => format!("None if {value} is None else {}", json(value, item)),
        Format::TypeName(name) => match name.as_str() {
            "NodeId" => format!("node_text({value})"),
            "Secret" | "Hash" | "Signature" | "Payload" => format!("{value}.hex()"),
            "PluginId" | "Protocol" | "Pattern" | "Name" | "Ticket" => value.to_owned(),
            _ => format!("_json_{}({value})", snake(name)),
        },
        _ => value.to_owned(),
    }
}

fn object(fields: &[(String, Format)]) -> String {
    let entry = |(field, format): &(String, Format)| format!("\"{field}\": {}", json(&format!("v.{field}"), format));
    format!("{{{}}}", fields.iter().map(entry).collect::<Vec<_>>().join(", "))
}
