//! Circles in a graph.

use std::collections::{BTreeMap, BTreeSet};

/// Nodes, and the nodes that each one points to.
pub(super) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The groups of nodes that reach each other; each group sorted.
pub(super) fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|node| (node.as_str(), reachable(graph, node))).collect();
    let mut groups = BTreeSet::new();
    for node in graph.keys() {
        let group: Vec<String> = reached[node.as_str()]
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(node.as_str())))
            .map(|other| (*other).to_owned())
            .collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}

/// What can be reached from a node, over one edge at least.
fn reachable<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut left: Vec<&str> = graph[from].iter().map(String::as_str).collect();
    while let Some(node) = left.pop() {
        if seen.insert(node) {
            left.extend(graph.get(node).into_iter().flatten().map(String::as_str));
        }
    }
    seen
}
