//! The settings of replicas that decide whether, and how soon, they have a push on disk.

/// What is known about the settings of a primary's replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReplicaDurability {
    /// No push waits for replicas.
    #[default]
    NotAsked,
    /// The user may not see the replicas, or no settings.
    Unseen,
    /// The settings of each replica that is connected.
    Seen(Vec<ReplicaSettings>),
}

/// The settings of one replica. One that cannot be read is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaSettings {
    /// Host and port.
    pub address: String,
    /// `appendonly`: without `yes` a replica never confirms a push.
    pub appendonly: Option<String>,
    /// `appendfsync`: with `everysec` a replica confirms a push up to a second later.
    pub appendfsync: Option<String>,
}

impl ReplicaDurability {
    /// The settings that are weaker than they must be, each with what to do; may be empty.
    pub(crate) fn weaknesses(&self) -> Vec<String> {
        match self {
            Self::NotAsked | Self::Unseen => Vec::new(),
            Self::Seen(replicas) => replicas.iter().flat_map(ReplicaSettings::weaknesses).collect(),
        }
    }

    /// The settings that an operator must check; may be empty.
    pub(crate) fn unseen(&self) -> Vec<String> {
        match self {
            Self::NotAsked => Vec::new(),
            Self::Unseen => vec!["appendonly yes and appendfsync always on every replica".to_owned()],
            Self::Seen(replicas) => replicas.iter().filter_map(ReplicaSettings::unseen).collect(),
        }
    }
}

impl ReplicaSettings {
    fn weaknesses(&self) -> Vec<String> {
        let Self { address, appendonly, appendfsync } = self;
        let mut weaknesses = Vec::new();
        if let Some(found) = appendonly.as_deref().filter(|found| *found != "yes") {
            weaknesses.push(format!(
                "appendonly of the replica {address} is {found}; set it to yes, because the replica confirms no push otherwise"
            ));
        }
        if let Some(found) = appendfsync.as_deref().filter(|found| *found != "always") {
            weaknesses.push(format!(
                "appendfsync of the replica {address} is {found}; set it to always, because every push waits for the replica's \
                 disk"
            ));
        }
        weaknesses
    }

    fn unseen(&self) -> Option<String> {
        let is_unseen = self.appendonly.is_none() || self.appendfsync.is_none();
        is_unseen.then(|| format!("appendonly yes and appendfsync always on the replica {}", self.address))
    }
}
