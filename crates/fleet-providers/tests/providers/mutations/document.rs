//! Writes a JSON text with one change, including changes that no JSON library would write.

use serde_json::Value;

/// A fixture's JSON.
pub(super) enum Document {
    Scalar(String),
    Array(Vec<Document>),
    Object(Vec<(String, Document)>),
}

/// An edit of one member or element.
#[derive(Debug)]
pub(super) enum Edit {
    Replace(String),
    Remove,
    /// Repeats the name with this value before the original member.
    RepeatBefore(String),
    /// The name a second time, with this value after the genuine one.
    RepeatAfter(String),
    RepeatAsIs,
    /// Wraps the value in an array.
    Wrap,
    /// Swaps the value with the next member's.
    Swap,
}

/// A member of an object somewhere in a document.
pub(super) struct Member {
    /// The index of the child at each level.
    pub(super) path: Vec<usize>,
    /// The names on the path. Elements of arrays have none.
    pub(super) names: Vec<String>,
    /// The name of the next member in the same object.
    neighbour: String,
    /// The event that the member belongs to: the first array index on the path.
    pub(super) event: usize,
}

impl Member {
    pub(super) fn neighbour_names(&self) -> Vec<&str> {
        let around = &self.names[..self.names.len() - 1];
        around.iter().map(String::as_str).chain([self.neighbour.as_str()]).collect()
    }
}

impl Document {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Value>(bytes).ok().map(Self::from)
    }

    fn from(value: Value) -> Self {
        match value {
            Value::Array(elements) => Self::Array(elements.into_iter().map(Self::from).collect()),
            Value::Object(members) => {
                Self::Object(members.into_iter().map(|(name, value)| (name, Self::from(value))).collect())
            }
            scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                Self::Scalar(scalar.to_string())
            }
        }
    }

    /// Every member of every object.
    pub(super) fn members(&self) -> Vec<Member> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), &mut Vec::new(), None, &mut found);
        found
    }

    fn collect(
        &self,
        path: &mut Vec<usize>,
        names: &mut Vec<String>,
        event: Option<usize>,
        found: &mut Vec<Member>,
    ) {
        match self {
            Self::Scalar(_) => {}
            Self::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    path.push(index);
                    element.collect(path, names, event.or(Some(index)), found);
                    path.pop();
                }
            }
            Self::Object(members) => {
                for (index, (name, value)) in members.iter().enumerate() {
                    path.push(index);
                    names.push(name.clone());
                    found.push(Member {
                        path: path.clone(),
                        names: names.clone(),
                        neighbour: members[(index + 1) % members.len()].0.clone(),
                        event: event.unwrap_or_default(),
                    });
                    value.collect(path, names, event, found);
                    names.pop();
                    path.pop();
                }
            }
        }
    }

    /// The text with this edit at this path.
    pub(super) fn text(&self, edit: Option<(&[usize], &Edit)>) -> String {
        let mut text = String::new();
        self.write(edit, &mut text);
        text
    }

    fn write(&self, edit: Option<(&[usize], &Edit)>, text: &mut String) {
        match self {
            Self::Scalar(scalar) => text.push_str(scalar),
            Self::Array(elements) => {
                let inner =
                    |index| edit.filter(|(path, _)| path[0] == index).map(|(path, edit)| (&path[1..], edit));
                let parts: Vec<_> =
                    elements.iter().enumerate().map(|(index, element)| element.text(inner(index))).collect();
                text.push_str(&format!("[{}]", parts.join(",")));
            }
            Self::Object(members) => {
                let parts: Vec<_> =
                    (0..members.len()).filter_map(|index| member(members, index, edit)).collect();
                text.push_str(&format!("{{{}}}", parts.join(",")));
            }
        }
    }
}

/// One member with the edit applied. None if it is removed.
fn member(members: &[(String, Document)], index: usize, edit: Option<(&[usize], &Edit)>) -> Option<String> {
    let (name, value) = &members[index];
    let next = |index: usize| (index + 1) % members.len();
    let whole = value.text(None);
    let value = match edit {
        Some(([place], Edit::Swap)) if next(*place) == index => members[*place].1.text(None),
        Some((path, _)) if path[0] != index => whole,
        Some(([_], edit)) => match edit {
            Edit::Replace(text) => text.clone(),
            Edit::Remove => return None,
            Edit::RepeatBefore(text) => format!("{text},\"{name}\":{whole}"),
            Edit::RepeatAfter(text) => format!("{whole},\"{name}\":{text}"),
            Edit::RepeatAsIs => format!("{whole},\"{name}\":{whole}"),
            Edit::Wrap => format!("[{whole}]"),
            Edit::Swap => members[next(index)].1.text(None),
        },
        Some((path, edit)) => value.text(Some((&path[1..], edit))),
        None => whole,
    };
    Some(format!("\"{name}\":{value}"))
}
