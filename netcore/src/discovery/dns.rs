//! Seeds in the domain name system: names whose A and AAAA records are addresses of nodes, and whose TXT records may be
//! tickets. Answers are not authenticated, so what they name is unverified
//! ([`polypeer_engine::discovery::crosscheck`]).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use polypeer_ipc_protocol::limits::MAX_TICKET;
use polypeer_ipc_protocol::seeds::{Host, MAX_ENTRIES};
use polypeer_ipc_protocol::settings::DEFAULT_PORT;
use polypeer_ipc_protocol::ticket::Ticket;
use tokio::task::JoinSet;

/// Most addresses used of one name: what fits in a response of 4 KiB.
const MAX_ADDRESSES: usize = 64;
/// Most tickets used of one name.
const MAX_TICKETS: usize = 16;
/// Timeout of one query to one server.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Retries of a query.
const ATTEMPTS: usize = 1;
/// Time limit for all queries of one name.
const LIMIT: Duration = Duration::from_secs(12);

/// The records of all names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub addresses: Vec<SocketAddr>,
    pub tickets: Vec<Ticket>,
    /// Failures for people, one per name.
    pub problems: Vec<String>,
}

/// A resolver that asks `server`, or the system's. It caches nothing, since names are asked for rarely.
pub fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let builder = match server {
        None => TokioResolver::builder(provider)
            .map_err(|error| format!("the system's resolver cannot be used ({error}); set [discovery] resolver"))?,
        Some(server) => {
            let on_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(on_port).to_vec();
            let config = ResolverConfig::from_parts(
                None,
                Vec::new(),
                vec![NameServerConfig::new(server.ip(), true, connections)],
            );
            TokioResolver::builder_with_config(config, provider)
        }
    };
    let mut options = ResolverOpts::default();
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.cache_size = 0;
    builder.with_options(options).build().map_err(|error| error.to_string())
}

/// Resolves all names in parallel.
pub async fn resolve(seeds: &[Host], server: Option<SocketAddr>) -> Found {
    let mut found = Found::default();
    let resolver = match resolver(server) {
        Ok(resolver) => resolver,
        Err(problem) => {
            found.problems.push(problem);
            return found;
        }
    };
    let mut names = JoinSet::new();
    for seed in seeds.iter().take(MAX_ENTRIES) {
        let (resolver, seed) = (resolver.clone(), seed.clone());
        names.spawn(async move {
            match tokio::time::timeout(LIMIT, one(&resolver, &seed)).await {
                Ok(found) => found,
                Err(_) => failed(&seed, "no answer in time"),
            }
        });
    }
    while let Some(one) = names.join_next().await {
        // It neither panics nor is aborted.
        let Ok(one) = one else { continue };
        found.addresses.extend(one.addresses);
        found.tickets.extend(one.tickets);
        found.problems.extend(one.problems);
    }
    found.addresses.sort_unstable();
    found.addresses.dedup();
    found.problems.sort_unstable();
    found
}

fn failed(seed: &Host, why: &str) -> Found {
    Found { problems: vec![format!("{}: {why}", seed.name)], ..Found::default() }
}

async fn one(resolver: &TokioResolver, seed: &Host) -> Found {
    let port = seed.port.unwrap_or(DEFAULT_PORT);
    if let Ok(ip) = seed.name.parse::<IpAddr>() {
        return Found { addresses: vec![SocketAddr::new(ip, port)], ..Found::default() };
    }
    // With the final dot: no search domain is tried.
    let name = format!("{}.", seed.name);
    let ask = |kind| resolver.lookup(name.clone(), kind);
    let answers = tokio::join!(ask(RecordType::A), ask(RecordType::AAAA), ask(RecordType::TXT));
    let mut found = Found::default();
    let mut problem = None;
    for answer in [answers.0, answers.1, answers.2] {
        match answer {
            Ok(lookup) => lookup.answers().iter().for_each(|record| take(&mut found, record, port)),
            Err(error) => problem = problem.or(in_words(&error)),
        }
    }
    if found.addresses.is_empty() && found.tickets.is_empty() {
        let why = problem.unwrap_or_else(|| "it has no A, AAAA or TXT records that lead to a node".into());
        return failed(seed, &why);
    }
    found
}

/// Adds the address or the ticket of a record, up to the limits.
fn take(found: &mut Found, record: &Record, port: u16) {
    let mut add = |ip: IpAddr| {
        if found.addresses.len() < MAX_ADDRESSES && !ip.is_unspecified() && !ip.is_multicast() {
            found.addresses.push(SocketAddr::new(ip, port));
        }
    };
    match &record.data {
        RData::A(ip) => add(ip.0.into()),
        RData::AAAA(ip) => add(ip.0.into()),
        RData::TXT(text) if found.tickets.len() < MAX_TICKETS => found.tickets.extend(ticket(&text.txt_data)),
        _ => {}
    }
}

/// The ticket in a TXT record, whose strings have at most 255 bytes each and are joined (RFC 7208, section 3.3). Other
/// texts are ignored.
fn ticket(strings: &[Box<[u8]>]) -> Option<Ticket> {
    let length: usize = strings.iter().map(|string| string.len()).sum();
    if length > MAX_TICKET {
        return None;
    }
    let joined = strings.concat();
    std::str::from_utf8(&joined).ok()?.trim().parse().ok().filter(|ticket: &Ticket| !ticket.addresses.is_empty())
}

/// Why a query failed, for people; `None` if the name exists but has no such records.
fn in_words(error: &NetError) -> Option<String> {
    let code = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.response_code,
        NetError::Dns(DnsError::ResponseCode(code)) => *code,
        NetError::Timeout => return Some("no name server answers".into()),
        NetError::Io(error) => return Some(format!("no name server can be reached: {error}")),
        other => return Some(other.to_string()),
    };
    match code {
        ResponseCode::NoError => None,
        ResponseCode::NXDomain => Some("there is no such name".into()),
        ResponseCode::ServFail => Some("the name server cannot find it out (SERVFAIL)".into()),
        ResponseCode::Refused => Some("the name server refuses to answer".into()),
        other => Some(format!("the name server answers: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(parts: &[&str]) -> Vec<Box<[u8]>> {
        parts.iter().map(|part| part.as_bytes().into()).collect()
    }

    #[test]
    fn split_strings_of_a_record_are_one_ticket() {
        let text = format!("polypeer:{}@192.0.2.1:7470,192.0.2.2:7470", polypeer_ipc_protocol::ids::NodeId([7; 32]));
        let (begin, end) = text.split_at(40);
        assert_eq!(ticket(&strings(&[begin, end])).map(|ticket| ticket.to_string()), Some(text.clone()));
        assert_eq!(ticket(&strings(&["v=spf1 -all"])), None);
        assert_eq!(ticket(&strings(&[text.split('@').next().expect("a part")])), None, "it leads nowhere");
        assert_eq!(ticket(&strings(&[&text, &" ".repeat(MAX_TICKET)])), None, "too long");
        assert_eq!(ticket(&[[0xff; 9].into()]), None);
    }

    #[test]
    fn what_one_name_leads_to_is_bounded() {
        let name = hickory_resolver::proto::rr::Name::root();
        let mut found = Found::default();
        let text = format!("polypeer:{}@192.0.2.1:7470", polypeer_ipc_protocol::ids::NodeId([7; 32]));
        for last in 0..=200 {
            let ip = std::net::Ipv4Addr::new(192, 0, 2, last);
            take(&mut found, &Record::from_rdata(name.clone(), 1, RData::A(ip.into())), 7470);
            let txt = hickory_resolver::proto::rr::rdata::TXT::new(vec![text.clone()]);
            take(&mut found, &Record::from_rdata(name.clone(), 1, RData::TXT(txt)), 7470);
        }
        let nowhere = std::net::Ipv4Addr::UNSPECIFIED;
        take(&mut found, &Record::from_rdata(name, 1, RData::A(nowhere.into())), 7470);
        assert_eq!((found.addresses.len(), found.tickets.len()), (MAX_ADDRESSES, MAX_TICKETS));
    }
}
