//! The number of variants of an enum, from its `Deserialize` implementation.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The number of variants of the enum `T`: the lowest tag that this version does not know.
///
/// # Panics
///
/// When `T` is not an enum.
pub(super) fn count<'de, T: Deserialize<'de>>() -> u32 {
    match T::deserialize(Counter) {
        Err(Counted::Variants(count)) => u32::try_from(count).expect("an enum of messages is small"),
        _ => unreachable!("{} is an enum", std::any::type_name::<T>()),
    }
}

/// A deserializer without data: it fails with what it was asked for.
struct Counter;

#[derive(Debug, thiserror::Error)]
enum Counted {
    #[error("an enum of {0} variants")]
    Variants(usize),
    #[error("not an enum")]
    Other,
}

impl de::Error for Counted {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }
}

impl<'de> Deserializer<'de> for Counter {
    type Error = Counted;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Counted> {
        Err(Counted::Other)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Counted> {
        Err(Counted::Variants(variants.len()))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Path, Reach, Verdict};

    #[test]
    fn variants_are_as_many_as_there_are() {
        assert_eq!((count::<Path>(), count::<Reach>(), count::<Verdict>()), (2, 3, 3));
    }
}
