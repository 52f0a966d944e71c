//! What kind of nodes to start.

/// How kube-proxy translates Service addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProxyMode {
    /// Rules of iptables, the default of Kubernetes.
    #[default]
    Iptables,
    /// Sets and maps of nftables.
    Nftables,
}

impl ProxyMode {
    /// As in kube-proxy's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        }
    }
}

/// How soon a silent node is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detection {
    /// The defaults of Kubernetes: a Lease of 40 s, a node `NotReady` after 50 s.
    #[default]
    Stock,
    /// For tests that wait for it: a Lease of 12 s, `NotReady` after 20 s.
    Quick,
}

impl Detection {
    /// `nodeLeaseDurationSeconds` of the kubelet, which renews after a quarter of it.
    pub(super) fn lease_seconds(self) -> u32 {
        match self {
            Self::Stock => 40,
            Self::Quick => 12,
        }
    }

    /// Arguments of the controller manager beside its usual ones.
    pub(super) fn controller_args(self) -> Vec<String> {
        match self {
            Self::Stock => Vec::new(),
            Self::Quick => ["--node-monitor-grace-period=20s", "--node-monitor-period=1s"]
                .map(str::to_owned)
                .into(),
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// How many nodes, 1 to [`NodeOptions::MOST`].
    pub nodes: u8,
    /// How Service addresses are translated.
    pub proxy_mode: ProxyMode,
    /// How soon a silent node is noticed.
    pub detection: Detection,
    /// Whether the API server writes an audit log, with the bodies of writes.
    pub audit: bool,
    /// More fields of every node's `KubeProxyConfiguration`, over those of the bed.
    pub proxy_config: serde_json::Value,
    /// More arguments for the API server.
    pub api_server_args: Vec<String>,
    /// More arguments for the controller manager.
    pub controller_manager_args: Vec<String>,
}

impl NodeOptions {
    /// More nodes than this have no addresses in the bed's plan.
    pub const MOST: u8 = 200;

    /// So many nodes, everything else as usual.
    pub fn nodes(nodes: u8) -> Self {
        Self {
            nodes,
            proxy_mode: ProxyMode::default(),
            detection: Detection::default(),
            audit: false,
            proxy_config: serde_json::Value::Null,
            api_server_args: Vec::new(),
            controller_manager_args: Vec::new(),
        }
    }
}
