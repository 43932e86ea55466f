//! The Go SDK's `messages_generated.go`. Nothing in it is exported: users see the SDK's own types.

use std::fmt::Write;

use serde_reflection::Format;

use crate::message::ROOTS;
use crate::schema::{Fields, GROWING, Schema, Shape, Variant, list_limit};

macro_rules! line {
    ($out:expr, $($text:tt)*) => { writeln!($out, $($text)*).expect("writing to a string") };
}

const HEAD: &str = "\
// Code generated from ipc-protocol/src by `make generate`. DO NOT EDIT.

package polypeer

// The gateway's messages as Go values, and their bytes; ipc-protocol/SPEC.md says what they mean. A message E is the
// type msgE. An enum is an interface and its variant V the struct msgEV, or, when no variant holds anything, a number
// and its constants msgEV. A variant's one unnamed value is its field value.
";

pub(crate) fn generate(schema: &Schema) -> String {
    let mut out = HEAD.to_owned();
    for name in schema.order() {
        match schema.shape(&name) {
            Shape::Struct(fields) => {
                structure(&mut out, &name, &fields);
                line!(out, "\nfunc (r *msgReader) msg{name}() msg{name} {{");
                line!(out, "\treturn msg{name}{{{}}}\n}}", reads(&name, &fields));
                writes(&mut out, &name, None, &fields);
                line!(out, "\nfunc (v msg{name}) json() any {{\n\treturn {}\n}}", object(&fields));
            }
            Shape::Enum(variants) if is_choice(&variants) => choice(&mut out, &name, &variants),
            Shape::Enum(variants) => enumeration(&mut out, &name, &variants),
        }
        if ROOTS.contains(&name.as_str()) {
            line!(out, "\nfunc decodeMsg{name}(body []byte) (msg{name}, error) {{");
            line!(out, "\treturn decodeMsg(body, (*msgReader).msg{name})\n}}");
        }
    }
    out
}

fn is_choice(variants: &[Variant]) -> bool {
    variants.iter().all(|variant| variant.fields.is_empty())
}

fn structure(out: &mut String, name: &str, fields: &Fields) {
    if fields.is_empty() {
        return line!(out, "\ntype msg{name} struct{{}}");
    }
    line!(out, "\ntype msg{name} struct {{");
    let width = fields.iter().map(|(field, _)| camel(field).len()).max().unwrap_or(0);
    for (field, format) in fields {
        line!(out, "\t{:width$} {}", camel(field), type_of(format));
    }
    line!(out, "}}");
}

/// An enum whose variants hold nothing: a number.
fn choice(out: &mut String, name: &str, variants: &[Variant]) {
    line!(out, "\ntype msg{name} uint32\n\nconst (");
    let names: Vec<_> = variants.iter().map(|variant| format!("msg{name}{}", variant.name)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for (variant, constant) in variants.iter().zip(&names) {
        line!(out, "\t{constant:width$} msg{name} = {}", variant.tag);
    }
    line!(out, ")\n\nfunc (r *msgReader) msg{name}() msg{name} {{");
    line!(out, "\treturn msg{name}(r.choice(\"{name}\", {}))\n}}", variants.len());
    line!(out, "\nfunc (v msg{name}) write(w *msgWriter) {{\n\tw.u32(uint32(v))\n}}");
    let texts: Vec<_> = variants.iter().map(|variant| format!("\"{}\"", variant.name)).collect();
    line!(out, "\nfunc (v msg{name}) json() any {{\n\treturn []string{{{}}}[v]\n}}", texts.join(", "));
}

/// Any other enum: an interface, and a struct for each variant.
fn enumeration(out: &mut String, name: &str, variants: &[Variant]) {
    let grows = GROWING.contains(&name);
    line!(out, "\ntype msg{name} interface {{\n\tmsgValue\n\tis{name}()\n}}");
    for Variant { tag, name: variant, fields, unnamed } in variants {
        let whole = format!("{name}{variant}");
        structure(out, &whole, fields);
        line!(out, "\nfunc (msg{whole}) is{name}() {{}}");
        writes(out, &whole, Some(*tag), fields);
        let value = match (&fields[..], unnamed) {
            ([], _) => format!("\"{variant}\""),
            ([(field, format)], true) => format!("map[string]any{{\"{variant}\": {}}}", json(field, format)),
            _ => format!("map[string]any{{\"{variant}\": {}}}", object(fields)),
        };
        let receiver = if fields.is_empty() { "" } else { "v " };
        line!(out, "\nfunc ({receiver}msg{whole}) json() any {{\n\treturn {value}\n}}");
    }
    if grows {
        line!(out, "\n// msg{name}Unknown is of a later version; what it holds was not read.");
        line!(out, "type msg{name}Unknown struct {{\n\ttag uint32\n}}");
        line!(out, "\nfunc (msg{name}Unknown) is{name}() {{}}");
        line!(out, "\nfunc (v msg{name}Unknown) write(w *msgWriter) {{\n\tw.u32(v.tag)\n}}");
        line!(out, "\nfunc (v msg{name}Unknown) json() any {{\n\treturn map[string]any{{\"Unknown\": v.tag}}\n}}");
    }
    line!(out, "\nfunc (r *msgReader) msg{name}() msg{name} {{\n\tswitch tag := r.u32(); tag {{");
    for Variant { tag, name: variant, fields, .. } in variants {
        line!(out, "\tcase {tag}:\n\t\treturn msg{name}{variant}{{{}}}", reads(name, fields));
    }
    line!(out, "\tdefault:");
    if grows {
        line!(out, "\t\tr.b = nil\n\t\treturn msg{name}Unknown{{tag}}");
    } else {
        line!(out, "\t\tr.fail(\"unknown {name} %d\", tag)\n\t\treturn nil");
    }
    line!(out, "\t}}\n}}");
}

fn writes(out: &mut String, name: &str, tag: Option<u32>, fields: &Fields) {
    let receiver = if fields.is_empty() { "" } else { "v " };
    line!(out, "\nfunc ({receiver}msg{name}) write(w *msgWriter) {{");
    if let Some(tag) = tag {
        line!(out, "\tw.u32({tag})");
    }
    for (field, format) in fields {
        let value = format!("v.{}", camel(field));
        if let Format::Seq(item) = format {
            line!(out, "\tw.u64(uint64(len({value})))\n\tfor _, item := range {value} {{");
            line!(out, "\t\t{}\n\t}}", write_value("item", item));
        } else if let Format::Option(item) = format {
            line!(out, "\tw.bool({value}.some)\n\tif {value}.some {{");
            line!(out, "\t\t{}\n\t}}", write_value(&format!("{value}.value"), item));
        } else {
            line!(out, "\t{}", write_value(&value, format));
        }
    }
    line!(out, "}}");
}

fn write_value(value: &str, format: &Format) -> String {
    match method(format) {
        Some(method) => format!("w.{method}({value})"),
        None => format!("{value}.write(w)"),
    }
}

fn reads(container: &str, fields: &Fields) -> String {
    let function = |format: &Format| match (method(format), format) {
        (Some(method), _) => format!("r.{method}"),
        (None, Format::TypeName(name)) => format!("r.msg{name}"),
        (None, other) => unreachable!("no message has {other:?}"),
    };
    let read = |(field, format): &(String, Format)| match format {
        Format::Seq(item) => {
            let limit = list_limit(container, field).map_or("maxFrame".to_owned(), |limit| limit.to_string());
            format!("msgList(r, {limit}, {})", function(item))
        }
        Format::Option(item) => format!("msgOptional(r, {})", function(item)),
        single => format!("{}()", function(single)),
    };
    fields.iter().map(read).collect::<Vec<_>>().join(", ")
}

fn type_of(format: &Format) -> String {
    match format {
        Format::U32 => "uint32".into(),
        Format::U64 => "uint64".into(),
        Format::Bool => "bool".into(),
        Format::Str => "string".into(),
        Format::Seq(item) => format!("[]{}", type_of(item)),
        Format::Option(item) => format!("msgOption[{}]", type_of(item)),
        Format::TypeName(name) => match name.as_str() {
            "NodeId" => "msgNode".into(),
            "Secret" => "msgSecret".into(),
            "Hash" => "msgHash".into(),
            "Signature" => "msgSignature".into(),
            "Payload" => "[]byte".into(),
            "PluginId" | "Protocol" | "Pattern" | "Name" | "Ticket" => "string".into(),
            _ => format!("msg{name}"),
        },
        other => unreachable!("no message has {other:?}"),
    }
}

/// The method of reader and writer for a value of the language; `None` for a type with methods of its own.
fn method(format: &Format) -> Option<&'static str> {
    match format {
        Format::U32 => Some("u32"),
        Format::U64 => Some("u64"),
        Format::Bool => Some("bool"),
        Format::Str => Some("text"),
        Format::TypeName(name) => match name.as_str() {
            "NodeId" => Some("node"),
            "Secret" => Some("secret"),
            "Hash" => Some("hash"),
            "Signature" => Some("signature"),
            "Payload" => Some("bytes"),
            "PluginId" => Some("pluginID"),
            "Protocol" => Some("protocol"),
            "Pattern" => Some("pattern"),
            "Name" => Some("name"),
            "Ticket" => Some("ticket"),
            _ => None,
        },
        _ => None,
    }
}

fn json(field: &str, format: &Format) -> String {
    let value = format!("v.{}", camel(field));
    match format {
        Format::Seq(item) => format!("msgJSONList({value}, {})", json_function(item)),
        Format::Option(item) => format!("msgJSONOption({value}, {})", json_function(item)),
        Format::TypeName(name) => match name.as_str() {
            "NodeId" => format!("msgJSONNode({value})"),
            "Secret" | "Hash" | "Signature" => format!("msgJSONHex({value}[:])"),
            "Payload" => format!("msgJSONHex({value})"),
            _ if method(format).is_some() => value,
            _ => format!("{value}.json()"),
        },
        _ => value,
    }
}

fn json_function(format: &Format) -> String {
    match (method(format), format) {
        (Some("u32"), _) => "msgJSONNumber".into(),
        (Some("node"), _) => "msgJSONNode".into(),
        (Some("bytes"), _) => "msgJSONHex".into(),
        (Some("protocol" | "pattern" | "text"), _) => "msgJSONText".into(),
        (None, Format::TypeName(name)) => format!("msg{name}.json"),
        other => unreachable!("no list or option has {other:?}"),
    }
}

fn object(fields: &Fields) -> String {
    let entry = |(field, format): &(String, Format)| format!("\"{field}\": {}", json(field, format));
    format!("map[string]any{{{}}}", fields.iter().map(entry).collect::<Vec<_>>().join(", "))
}

/// `some_name` as `someName`; units as Go writes initials.
fn camel(name: &str) -> String {
    let mut out = String::new();
    for (index, part) in name.split('_').enumerate() {
        match part {
            _ if index == 0 => out.push_str(part),
            "ms" | "us" => out.push_str(&part.to_uppercase()),
            _ => out.push_str(&(part[..1].to_uppercase() + &part[1..])),
        }
    }
    out
}
