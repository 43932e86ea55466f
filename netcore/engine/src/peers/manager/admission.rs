//! The admission of incoming connections.

use std::net::IpAddr;

use polypeer_ipc_protocol::ids::NodeId;

use super::{CloseReason, FLOOR, Manager, Refusal};
use crate::now::Now;
use crate::peers::caps::Crowded;

impl Manager {
    /// Decides whether to admit `node`, which has connected from `ip`. Returns the number of the admission, which
    /// [`Self::settled`] must end.
    pub fn admit(&mut self, now: Now, node: NodeId, ip: IpAddr) -> Result<u64, Refusal> {
        let admitted = self.judge(now, node, ip);
        if let Err(refusal) = admitted {
            let count = match refusal {
                Refusal::Blocked => &mut self.tallies.refused_blocked,
                Refusal::Banned { .. } => &mut self.tallies.refused_banned,
                Refusal::Host => &mut self.tallies.refused_per_ip,
                Refusal::Subnet => &mut self.tallies.refused_per_subnet,
                Refusal::Full => &mut self.tallies.refused_high_water,
            };
            *count += 1;
            return Err(refusal);
        }
        self.admissions += 1;
        self.entering.insert(self.admissions, (node, ip));
        self.counts.add(ip);
        Ok(self.admissions)
    }

    fn judge(&mut self, now: Now, node: NodeId, ip: IpAddr) -> Result<(), Refusal> {
        self.check(&node, now)?;
        // A peer that is connected (it may have lost the connection) or being dialed has its place; a protected one
        // always.
        if self.book.is_protected(&node) || self.links.contains_key(&node) || self.dials.contains_key(&node) {
            return Ok(());
        }
        self.counts.check(ip, self.marks.zone_limits(ip)).map_err(|crowded| match crowded {
            Crowded::Host => Refusal::Host,
            Crowded::Subnet => Refusal::Subnet,
        })?;
        let incoming = self.links.values().filter(|held| !held.outgoing && !held.closing).count() + self.entering.len();
        let full = self.connected() + self.entering.len() >= self.marks.high || incoming >= self.marks.incoming();
        if !full {
            return Ok(());
        }
        let newcomer = self.worth(&node, now);
        if self.floor.is_some_and(|(floor, until)| newcomer <= floor && now.at < until) {
            return Err(Refusal::Full);
        }
        let worst = self.spare(now, |held| !held.outgoing).into_iter().next();
        self.floor = Some((worst.map_or(f64::INFINITY, |(worth, _)| worth), now.at + FLOOR));
        match worst {
            Some((worth, worst)) if worth < newcomer => {
                self.floor = None;
                self.close(worst, CloseReason::Crowded);
                Ok(())
            }
            _ => Err(Refusal::Full),
        }
    }

    /// The connection that [`Self::admit`] admitted is kept now, or has ended.
    pub fn settled(&mut self, admission: u64) {
        if let Some((_, ip)) = self.entering.remove(&admission) {
            self.counts.remove(ip);
        }
    }
}
