//! What the operator reads first: where the node is, who can reach its apps, and what to type next.

use polypeer_ipc_protocol::admin::NetStatus;

use crate::home::Home;
use crate::output::Printer;

/// Says that the node is ready. `new_apps` are the bundled apps that this start installed.
pub(super) fn print(printer: &Printer, home: &Home, status: &NetStatus, new_apps: &[&str]) {
    printer.say(format!(
        "polypeer {} is ready; Ctrl-C stops it\n  node     {}\n  listens  {}\n  home     {}\n  next     `polypeer status` \
         in another terminal\n           `polypeer ticket` for others to connect to",
        env!("CARGO_PKG_VERSION"),
        status.node,
        status.listen.join(", "),
        home.root().display(),
    ));
    if let Some(first) = new_apps.first() {
        let accept = if new_apps.len() == 1 { "accepts" } else { "accept" };
        printer.say(format!(
            "{} {accept} any peer: whoever reaches this node may use them\n  `polypeer plugin grants {first} --peers list` \
             allows listed peers only, `polypeer plugin disable {first}` none",
            new_apps.join(" and "),
        ));
    }
}
