package polypeer

import (
	"net/netip"
	"strings"
)

// The rules of names: section 4 of ipc-protocol/SPEC.md.

// Kinds of names that plugins choose themselves, each with its rule, for errors.
const (
	protocolRule = "protocol: expected name/version, such as chat/1, of a-z, 0-9, '.', '_' and '-'"
	nameRule     = "name: expected 1 to 128 of a-z, 0-9, '.', '_', '-' and '/'"
)

// hasOnly reports whether v is not empty and consists of a-z, 0-9, '-' and the characters of more.
func hasOnly(v string, more string) bool {
	for _, c := range []byte(v) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return v != ""
}

func isPluginID(v string) bool { return len(v) >= 2 && len(v) <= 40 && hasOnly(v, "") }

func isProtocol(v string) bool {
	name, version, found := strings.Cut(v, "/")
	return found && len(v) <= maxProtocol && hasOnly(name, "._") && hasOnly(version, "._")
}

// isPattern reports whether v is a name, a prefix and `*`, or `*`.
func isPattern(v string) bool {
	fixed := strings.TrimSuffix(v, "*")
	return v != "" && len(v) <= maxProtocol && (fixed == "" || hasOnly(fixed, "._/"))
}

// isRecordName reports whether v is a valid name of a topic, a record or a provider.
func isRecordName(v string) bool { return len(v) <= maxName && hasOnly(v, "._/") }

// isTicket reports whether v is `polypeer:ID` or `polypeer:ID@IP:PORT,IP:PORT…`; later versions may add parts after
// `;`.
func isTicket(v string) bool {
	v = strings.TrimSpace(v)
	body, found := strings.CutPrefix(v, "polypeer:")
	if !found || len(v) > maxTicket {
		return false
	}
	body, _, _ = strings.Cut(body, ";")
	node, list, found := strings.Cut(body, "@")
	if _, err := ParseNodeID(node); err != nil {
		return false
	}
	addresses := strings.Split(list, ",")
	if !found {
		return true
	}
	for _, text := range addresses {
		if _, err := netip.ParseAddrPort(text); err != nil || strings.Contains(text, "%") {
			return false
		}
	}
	return len(addresses) <= maxTicketAddresses
}

// allows reports whether a grant's pattern covers a name.
func allows(pattern, name string) bool {
	prefix, open := strings.CutSuffix(pattern, "*")
	return pattern == name || open && strings.HasPrefix(name, prefix)
}

// allowsAny reports whether one of a grant's patterns covers a name.
func allowsAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if allows(pattern, name) {
			return true
		}
	}
	return false
}
