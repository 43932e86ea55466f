//! Serde implementations of ids and names: 32 raw bytes on the wire and text in JSON, or checked text in both.

/// Implements serde for a 32-byte type: raw bytes on the wire, text in JSON.
macro_rules! bytes_on_wire {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&self.to_text())
                } else {
                    serializer.serialize_newtype_struct(stringify!($name), &self.0)
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("32 bytes")
                    }
                    fn visit_newtype_struct<D: serde::Deserializer<'de>>(self, inner: D) -> Result<$name, D::Error> {
                        <[u8; 32] as serde::Deserialize>::deserialize(inner).map($name)
                    }
                }
                if deserializer.is_human_readable() {
                    <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    deserializer.deserialize_newtype_struct(stringify!($name), Visitor)
                }
            }
        }
    };
}
pub(crate) use bytes_on_wire;

/// Implements serde for a type that is text on the wire and in JSON: a string, checked when decoded. The schema keeps
/// the type's name. On the wire the error of the check is marked, so that `codec::decode` can tell text that breaks its
/// rule from a broken message.
macro_rules! text_on_wire {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_newtype_struct(stringify!($name), &self.to_string())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("text")
                    }
                    fn visit_newtype_struct<D: serde::Deserializer<'de>>(self, inner: D) -> Result<$name, D::Error> {
                        let mark = (!inner.is_human_readable()).then_some($crate::codec::BAD_TEXT);
                        let text = <String as serde::Deserialize>::deserialize(inner)?;
                        text.parse().map_err(|error| {
                            let mark = mark.map(String::from).unwrap_or_default();
                            serde::de::Error::custom(format_args!("{mark}{error}"))
                        })
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_newtype_struct(stringify!($name), Visitor)
            }
        }
    };
}
pub(crate) use text_on_wire;
