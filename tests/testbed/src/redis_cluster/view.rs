//! What one node knows about the cluster.

/// The lines of `CLUSTER NODES`.
#[derive(Debug)]
pub(super) struct View {
    nodes: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    id: String,
    flags: Vec<String>,
    /// The id of a replica's primary, otherwise `-`.
    primary: String,
    is_connected: bool,
    slots: Vec<(u16, u16)>,
}

impl View {
    /// Reads the reply of `CLUSTER NODES`.
    pub(super) fn parse(text: &str) -> Self {
        Self { nodes: text.lines().filter_map(Known::parse).collect() }
    }

    /// Whether the node is known, and the handshake with it is complete.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.nodes.iter().any(|node| node.id == id && !node.has("handshake"))
    }

    /// Whether the node is known as a primary.
    pub(super) fn knows_primary(&self, id: &str) -> bool {
        self.nodes.iter().any(|node| node.id == id && node.has("master") && !node.has("handshake"))
    }

    /// The id of the primary that serves the slot.
    pub(super) fn primary_of(&self, slot: u16) -> Option<String> {
        let serves = |node: &&Known| {
            let has_slot = node.slots.iter().any(|&(first, last)| (first..=last).contains(&slot));
            node.has("master") && !node.has("fail") && has_slot
        };
        self.nodes.iter().find(serves).map(|node| node.id.clone())
    }

    /// Whether `replica` is up and follows `primary`.
    pub(super) fn follows(&self, replica: &str, primary: &str) -> bool {
        self.nodes
            .iter()
            .any(|node| node.id == replica && node.has("slave") && node.primary == primary && node.is_up())
    }

    /// Whether exactly `nodes` nodes are known, all of them are up, and `primaries` of them have slots.
    pub(super) fn is_healthy(&self, nodes: usize, primaries: usize) -> bool {
        self.nodes.len() == nodes
            && self.nodes.iter().all(Known::is_up)
            && self.nodes.iter().filter(|node| !node.slots.is_empty()).count() == primaries
            && self.nodes.iter().filter(|node| node.has("master")).count() == primaries
    }
}

impl Known {
    /// `<id> <address> <flags> <primary> <ping> <pong> <epoch> <link> <slots>…`
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let &[id, _address, flags, primary, _ping, _pong, _epoch, link, ref slots @ ..] = words.as_slice()
        else {
            return None;
        };
        Some(Self {
            id: id.to_owned(),
            flags: flags.split(',').map(str::to_owned).collect(),
            primary: primary.to_owned(),
            is_connected: link == "connected",
            slots: slots.iter().filter_map(|range| parse_range(range)).collect(),
        })
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    fn is_up(&self) -> bool {
        self.is_connected && !["fail", "fail?", "handshake", "noaddr"].iter().any(|flag| self.has(flag))
    }
}

/// `<first>-<last>` or `<slot>`. Slots on the move are in brackets and do not count.
fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::View;

    const NODES: &str = "\
a 127.0.0.1:1@11 myself,master - 0 0 1 connected 0-5460 [77->-b]
b 127.0.0.1:2@12 master - 0 1 2 connected 5461-16383
c 127.0.0.1:3@13 slave a 0 1 1 connected
d 127.0.0.1:4@14 slave,fail b 0 1 2 disconnected
";

    #[test]
    fn a_view_says_who_serves_a_slot_and_who_follows_whom() {
        let view = View::parse(NODES);
        assert_eq!(view.primary_of(77).as_deref(), Some("a"));
        assert_eq!(view.primary_of(16_383).as_deref(), Some("b"));
        assert!(view.follows("c", "a") && !view.follows("c", "b") && !view.follows("d", "b"));
        assert!(view.knows("d") && !view.knows("e"));
        assert!(!view.is_healthy(4, 2), "d is down");
        let three = NODES.lines().take(3).collect::<Vec<_>>().join("\n");
        assert!(View::parse(&three).is_healthy(3, 2));
    }
}
