//! A query: a job in progress, with what it is to find or store, and how far it is.

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

/// A job of a caller or of upkeep.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) goal: Goal,
    pub(super) stage: Stage,
    pub(super) work: Work,
    /// Whether it waits for a free call.
    pub(super) starved: bool,
}

/// On whose behalf a query runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A caller's, which receives [`super::Output::Done`].
    Job,
    /// Upkeep: joins, refreshes and own republications.
    Upkeep,
    /// Replication of a record that this node holds for its owner.
    Copy,
}

/// The stage of a query.
#[derive(Debug)]
pub(super) enum Stage {
    /// A lookup for the closest nodes, or for what they hold.
    Looking(Lookup),
    /// Storing something at the nodes found.
    Putting(Spread),
}

/// What a query is to achieve.
#[derive(Debug)]
pub(super) enum Goal {
    /// Find the newest address record of a node.
    Locate {
        node: NodeId,
        best: Option<Arc<AddressRecord>>,
    },
    Get(Holders),
    /// Store a record; `left` is its lease in seconds.
    Put {
        record: Record,
        left: u32,
    },
    /// List this node as a provider.
    Provide {
        key: Key,
    },
    /// Find providers. `holders` are nodes that returned a valid entry of another node; at most
    /// [`super::limits::MAX_ASKED`].
    Providers {
        limit: usize,
        found: BTreeMap<NodeId, Arc<AddressRecord>>,
        holders: Vec<Key>,
    },
    /// Contacts in a range of keys.
    Look,
    /// The own neighbourhood; then the own addresses are kept there.
    Join,
}

/// Which nodes hold a record, in which version.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// The newest valid record.
    pub(super) best: Option<Record>,
    /// Nodes that hold one, with its sequence; at most [`super::limits::MAX_ASKED`].
    have: Vec<(Contact, u64)>,
    /// Nodes that hold none, in the order of their answers; at most `K`.
    lack: Vec<Contact>,
}

impl Holders {
    /// A node returned this valid record; `None` for this node itself.
    pub(super) fn has(&mut self, contact: Option<Contact>, record: Record) {
        if let Some(contact) = contact {
            self.have.push((contact, record.sequence()));
        }
        if self.best.as_ref().is_none_or(|best| record.supersedes(best)) {
            self.best = Some(record);
        }
    }

    /// A node holds none.
    pub(super) fn lacks(&mut self, contact: Contact) {
        if self.lack.len() < K {
            self.lack.push(contact);
        }
    }

    /// Whether further answers would change nothing. Only nodes among the closest count: others may hold an old record.
    pub(super) fn is_settled(&self, lookup: &Lookup) -> bool {
        let holders = self.have.iter().map(|(contact, _)| &contact.key);
        matches!(self.best, Some(Record::Immutable { .. })) || lookup.among_closest(holders) >= QUORUM
    }

    /// The nodes that lack the newest record: those that returned an older one, and the `count` closest that had none.
    pub(super) fn to_repair(&self, target: &Key, count: usize) -> Vec<Contact> {
        let Some(best) = &self.best else { return Vec::new() };
        let mut lack: Vec<&Contact> = self.lack.iter().collect();
        lack.sort_by_key(|contact| contact.key.distance(target));
        let older = self.have.iter().filter(|(_, sequence)| *sequence < best.sequence()).map(|(contact, _)| contact);
        older.chain(lack.into_iter().take(count)).cloned().collect()
    }
}

impl Goal {
    /// The question for each node of the lookup.
    pub(super) fn ask(&self, target: Key) -> Ask {
        match self {
            Self::Locate { .. } | Self::Get(_) => Ask::Get { key: target },
            Self::Providers { .. } => Ask::Providers { key: target },
            Self::Put { .. } | Self::Provide { .. } | Self::Look | Self::Join => Ask::FindNode { target },
        }
    }

    /// Whether this is a search that has found nothing.
    pub(super) fn found_nothing(&self) -> bool {
        match self {
            Self::Locate { best, .. } => best.is_none(),
            Self::Get(holders) => holders.best.is_none(),
            Self::Providers { found, .. } => found.is_empty(),
            Self::Put { .. } | Self::Provide { .. } | Self::Look | Self::Join => false,
        }
    }

    /// The outcome if the query ends now.
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

/// Stores something at the closest nodes, [`PARALLEL_PUTS`] at a time, until `K` have it.
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
    /// `copies` counts the holders at the start: 1 if this node is one.
    pub(super) fn new(closest: Vec<Contact>, copies: u32) -> Self {
        Self { left: closest.into(), waiting: 0, wanted: K, tries: 0, copies, superseded: 0 }
    }

    /// The next node to ask; `None` while enough are being asked, and at the end.
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

    /// A node stored it.
    pub(super) fn kept(&mut self) {
        self.waiting -= 1;
        self.copies += 1;
    }

    /// A node keeps a newer record.
    pub(super) fn superseded(&mut self) {
        self.waiting -= 1;
        self.superseded += 1;
    }

    /// A node refused or failed.
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
