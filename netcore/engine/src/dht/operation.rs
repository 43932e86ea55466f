//! One job in progress: what it wants to find or to have kept, and how far it is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use polypeer_ipc_protocol::ids::NodeId;

use super::contact::Contact;
use super::key::Key;
use super::limits::{K, MAX_PUT_TRIES, PARALLEL_PUTS, QUORUM};
use super::lookup::Lookup;
use super::record::Record;
use super::wire::Ask;
use super::{Failed, Outcome};
use crate::address::AddressRecord;

/// A job in progress.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) goal: Goal,
    pub(super) stage: Stage,
    pub(super) work: Work,
    /// Whether it waits for a place among the calls.
    pub(super) starved: bool,
}

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Somebody's who is told of its end.
    Job,
    /// This node's own.
    Upkeep,
    /// For the owner of a record that this node keeps.
    Copy,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Looking for the closest nodes, or for what they have.
    Looking(Lookup),
    /// Asking them to keep something.
    Putting(Spread),
}

/// What it is about.
#[derive(Debug)]
pub(super) enum Goal {
    /// Where a node is.
    Locate { node: NodeId, best: Option<Arc<AddressRecord>> },
    /// A record.
    Get(Holders),
    /// To have a record kept.
    Put { record: Record, left: u32 },
    /// To be listed as a provider.
    Provide { key: Key },
    /// Who provides.
    /// `holders` are those that told of one who does, rightly; at most [`super::limits::MAX_ASKED`].
    Providers { limit: usize, found: BTreeMap<NodeId, Arc<AddressRecord>>, holders: Vec<Key> },
    /// Contacts in a range of keys.
    Look,
    /// The own neighbourhood; then the own addresses are kept there.
    Join,
}

/// What nodes said of a record.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// The newest.
    pub(super) best: Option<Record>,
    /// Who has one, and of which sequence; at most [`super::limits::MAX_ASKED`].
    have: Vec<(Contact, u64)>,
    /// Who has none, the last that said so; at most `K`.
    lack: Vec<Contact>,
}

impl Holders {
    /// A node has this one, which is right.
    pub(super) fn has(&mut self, contact: Option<Contact>, record: Record) {
        if let Some(contact) = contact {
            self.have.push((contact, record.sequence()));
        }
        if self.best.as_ref().is_none_or(|best| record.supersedes(best)) {
            self.best = Some(record);
        }
    }

    /// A node has none.
    pub(super) fn lacks(&mut self, contact: Contact) {
        if self.lack.len() < K {
            self.lack.push(contact);
        }
    }

    /// Whether further answers would change nothing. Those who ought to have it decide: who was merely on the way may tell
    /// an old one.
    pub(super) fn is_settled(&self, lookup: &Lookup) -> bool {
        let holders = self.have.iter().map(|(contact, _)| &contact.key);
        matches!(self.best, Some(Record::Immutable { .. })) || lookup.among_closest(holders) >= QUORUM
    }

    /// Those that ought to have the best one: who told an older one, and the closest `count` that had none.
    pub(super) fn to_repair(&self, target: &Key, count: usize) -> Vec<Contact> {
        let Some(best) = &self.best else { return Vec::new() };
        let mut lack: Vec<&Contact> = self.lack.iter().collect();
        lack.sort_by_key(|contact| contact.key.distance(target));
        let older = self.have.iter().filter(|(_, sequence)| *sequence < best.sequence()).map(|(contact, _)| contact);
        older.chain(lack.into_iter().take(count)).cloned().collect()
    }
}

impl Goal {
    /// What a lookup asks each node.
    pub(super) fn ask(&self, target: Key) -> Ask {
        match self {
            Self::Locate { .. } | Self::Get(_) => Ask::Get { key: target },
            Self::Providers { .. } => Ask::Providers { key: target },
            Self::Put { .. } | Self::Provide { .. } | Self::Look | Self::Join => Ask::FindNode { target },
        }
    }

    /// Whether it looked for something and did not find it.
    pub(super) fn is_empty_handed(&self) -> bool {
        match self {
            Self::Locate { best, .. } => best.is_none(),
            Self::Get(holders) => holders.best.is_none(),
            Self::Providers { found, .. } => found.is_empty(),
            Self::Put { .. } | Self::Provide { .. } | Self::Look | Self::Join => false,
        }
    }

    /// What it has come to, if it ends now.
    pub(super) fn outcome(&mut self, stage: &Stage) -> Outcome {
        match self {
            Self::Locate { best, .. } => Outcome::Located(best.take()),
            Self::Get(holders) => Outcome::Got(holders.best.take()),
            Self::Providers { found, limit, .. } => {
                Outcome::Providers(std::mem::take(found).into_values().take(*limit).collect())
            }
            Self::Look => Outcome::Looked(Vec::new()),
            Self::Put { .. } | Self::Provide { .. } | Self::Join => match stage {
                Stage::Putting(spread) => spread.outcome(),
                Stage::Looking(_) => Outcome::Failed(Failed::NotTaken),
            },
        }
    }
}

/// Asking the closest nodes to keep something, a few at a time, until `K` do.
#[derive(Debug)]
pub(super) struct Spread {
    left: VecDeque<Contact>,
    pub(super) waiting: usize,
    wanted: usize,
    tries: usize,
    copies: u32,
    superseded: u32,
}

impl Spread {
    /// `copies` is how many there are already: this node's own.
    pub(super) fn new(closest: Vec<Contact>, copies: u32) -> Self {
        Self { left: closest.into(), waiting: 0, wanted: K, tries: 0, copies, superseded: 0 }
    }

    /// Whom to ask next, if anybody yet.
    pub(super) fn next(&mut self) -> Option<Contact> {
        let enough = self.copies as usize + self.superseded as usize + self.waiting >= self.wanted;
        if enough || self.waiting >= PARALLEL_PUTS || self.tries >= MAX_PUT_TRIES {
            return None;
        }
        let next = self.left.pop_front()?;
        self.tries += 1;
        self.waiting += 1;
        Some(next)
    }

    /// One has it now.
    pub(super) fn kept(&mut self) {
        self.waiting -= 1;
        self.copies += 1;
    }

    /// One has a newer one.
    pub(super) fn superseded(&mut self) {
        self.waiting -= 1;
        self.superseded += 1;
    }

    /// One did not take it.
    pub(super) fn not_kept(&mut self) {
        self.waiting -= 1;
    }

    fn outcome(&self) -> Outcome {
        match (self.copies, self.superseded) {
            (0, 0) => Outcome::Failed(Failed::NotTaken),
            (copies, superseded) if superseded > copies => Outcome::Failed(Failed::Superseded),
            (copies, _) => Outcome::Stored { copies },
        }
    }
}
