//! The envelope before a QUIC packet in a tunnel through a relay, and the kinds of datagrams on the one UDP port.
//!
//! A QUIC packet has the bit 0x40 of its first byte set (RFC 9000, section 17; this node does not grease it, see RFC
//! 9287). Every other datagram of ours has it clear:
//!
//! ```text
//! 10 | tunnel id, u64 big-endian | QUIC packet …          a packet in a tunnel, 9 bytes of overhead
//! ```
//!
//! Only the relay and the two ends know the meaning of a tunnel id. 1200 bytes of QUIC and the envelope fit in the 1232
//! bytes of UDP payload that every IPv6 path carries.

/// First byte of a packet in a tunnel.
const TUNNEL: u8 = 0x10;
/// The bit that QUIC packets have set and envelopes have clear.
const FIXED_BIT: u8 = 0x40;
/// Length of the envelope, bytes.
pub const OVERHEAD: usize = 9;

/// Kind of a datagram, by its first bytes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A QUIC packet.
    Quic,
    /// A QUIC packet in an envelope, with the tunnel id.
    Tunnel(u64),
    /// Unknown to this version.
    Strange,
}

/// Determines the kind of a datagram.
pub fn kind(datagram: &[u8]) -> Kind {
    match datagram.first() {
        Some(first) if first & FIXED_BIT != 0 => Kind::Quic,
        Some(&TUNNEL) if datagram.len() > OVERHEAD && datagram[OVERHEAD] & FIXED_BIT != 0 => {
            Kind::Tunnel(u64::from_be_bytes(datagram[1..OVERHEAD].try_into().expect("8 bytes")))
        }
        _ => Kind::Strange,
    }
}

/// Puts an envelope before each segment of `contents`, all into `into`. Segments have `segment` bytes; the last may be
/// shorter.
pub fn wrap(contents: &[u8], segment: usize, id: u64, into: &mut Vec<u8>) {
    into.clear();
    for packet in contents.chunks(segment) {
        into.push(TUNNEL);
        into.extend_from_slice(&id.to_be_bytes());
        into.extend_from_slice(packet);
    }
}

/// Removes the envelopes of consecutive datagrams of `stride` bytes each (the last may be shorter), in place. Each then
/// has `stride - OVERHEAD` bytes. Returns how many bytes are left.
pub fn unwrap(datagrams: &mut [u8], stride: usize) -> usize {
    let mut end = 0;
    let mut start = 0;
    while start < datagrams.len() {
        let next = datagrams.len().min(start + stride);
        datagrams.copy_within(start + OVERHEAD..next, end);
        end += next - start - OVERHEAD;
        start = next;
    }
    end
}

/// The first run of datagrams of one kind: the kind, and the length of the run in bytes.
pub(super) fn first_run(datagrams: &[u8], stride: usize) -> (Kind, usize) {
    let mut packets = datagrams.chunks(stride.max(1));
    let Some(first) = packets.next() else { return (Kind::Strange, 0) };
    let run = kind(first);
    let rest: usize = packets.take_while(|packet| kind(packet) == run).map(<[u8]>::len).sum();
    (run, first.len() + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagram_is_told_by_its_first_byte() {
        assert_eq!(kind(&[0x40]), Kind::Quic);
        assert_eq!(kind(&[0xff, 1, 2]), Kind::Quic);
        assert_eq!(kind(&[]), Kind::Strange);
        assert_eq!(kind(&[0x10]), Kind::Strange);
        assert_eq!(kind(&[0x10, 0, 0, 0, 0, 0, 0, 0, 7]), Kind::Strange, "an envelope around nothing");
        assert_eq!(kind(&[0x10, 0, 0, 0, 0, 0, 0, 0, 7, 0x10]), Kind::Strange, "an envelope in an envelope");
        assert_eq!(kind(&[0x10, 0, 0, 0, 0, 0, 0, 1, 7, 0x40]), Kind::Tunnel(0x107));
        assert_eq!(kind(&[0x11, 0, 0, 0, 0, 0, 0, 1, 7, 0x40]), Kind::Strange);
    }

    #[test]
    fn segments_come_out_of_their_envelopes_as_they_went_in() {
        let contents: Vec<u8> = (0..250u8).map(|b| b | 0x40).collect();
        for segment in [1, 99, 100, 125, 250, 1000] {
            let mut wrapped = Vec::new();
            wrap(&contents, segment, 0x0102_0304_0506_0708, &mut wrapped);
            assert_eq!(wrapped[..10], [0x10, 1, 2, 3, 4, 5, 6, 7, 8, 0x40]);
            let stride = segment + OVERHEAD;
            assert_eq!(first_run(&wrapped, stride), (Kind::Tunnel(0x0102_0304_0506_0708), wrapped.len()));
            let left = unwrap(&mut wrapped, stride);
            assert_eq!(wrapped[..left], contents, "segments of {segment}");
        }
    }

    proptest::proptest! {
        #[test]
        fn runs_of_any_bytes_cover_them_all_and_unwrap(bytes: Vec<u8>, stride in 1..200usize) {
            let mut rest = bytes;
            while !rest.is_empty() {
                let (kind, run) = first_run(&rest, stride);
                assert!(run > 0 && run <= rest.len());
                let after = rest.split_off(run);
                if matches!(kind, Kind::Tunnel(_)) {
                    assert_eq!(unwrap(&mut rest, stride), run - run.div_ceil(stride) * OVERHEAD);
                }
                rest = after;
            }
        }
    }

    #[test]
    fn run_ends_where_the_kind_changes() {
        let mut mixed = vec![0x40; 30];
        let mut wrapped = Vec::new();
        wrap(&[0x41; 2], 1, 5, &mut wrapped);
        mixed.extend(&wrapped);
        assert_eq!(first_run(&mixed, 10), (Kind::Quic, 30));
        assert_eq!(first_run(&mixed[30..], 10), (Kind::Tunnel(5), 20));
        assert_eq!(first_run(&[], 10), (Kind::Strange, 0));
    }
}
