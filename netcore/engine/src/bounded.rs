//! Bounded decoding of lists in messages from peers: the length that a peer claims allocates nothing.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, de};

/// Decodes a list of at most `MAX` entries, and allocates for each only when it is read. For
/// `#[serde(deserialize_with)]`. Fails on a longer list.
pub fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Visitor<T, const MAX: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> de::Visitor<'de> for Visitor<T, MAX> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} entries")
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = entries.next_element()? {
                if list.len() == MAX {
                    return Err(de::Error::invalid_length(MAX + 1, &self));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(Visitor::<T, MAX>(PhantomData))
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::codec;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Few(#[serde(deserialize_with = "super::list::<_, _, 3>")] Vec<u8>);

    #[test]
    fn a_longer_list_is_refused_and_a_told_length_is_not_believed() {
        let encoded = |list: Vec<u8>| {
            let mut bytes = Vec::new();
            codec::encode(&Few(list), &mut bytes).unwrap();
            bytes
        };
        assert_eq!(codec::decode::<Few>(&encoded(vec![1, 2, 3])).unwrap(), Few(vec![1, 2, 3]));
        assert!(codec::decode::<Few>(&encoded(vec![1, 2, 3, 4])).is_err());
        assert!(codec::decode::<Few>(&u64::MAX.to_le_bytes()).is_err());
    }
}
