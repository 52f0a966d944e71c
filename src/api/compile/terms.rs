//! The closed enums, one to one.

use evenkeel_core::dataplane;
use evenkeel_core::policy as core;

use super::super::{
    Counts, Door, FenceEffect, LabelOperator, Layer, Measure, Mode, Protocol, ProxyMode, RecycleCause,
};

macro_rules! same_terms {
    ($from:ty => $to:ty { $($theirs:ident => $ours:ident),+ $(,)? }) => {
        impl From<$from> for $to {
            fn from(term: $from) -> Self {
                match term {
                    $(<$from>::$theirs => Self::$ours,)+
                }
            }
        }
    };
}

same_terms!(Mode => core::Mode { Observe => Observe, Suggest => Suggest, Enforce => Enforce });
same_terms!(core::Mode => Mode { Observe => Observe, Suggest => Suggest, Enforce => Enforce });
same_terms!(Measure => core::Measure { NewConnections => NewConnections, ActiveConnections => ActiveConnections });
same_terms!(Counts => core::Counts { Connections => Connections, Requests => Requests });
same_terms!(Protocol => core::Protocol { Tcp => Tcp, Http1 => Http1, Http2 => Http2, Grpc => Grpc, Udp => Udp });
same_terms!(Door => core::Door { Cluster => Cluster, LoadBalancer => LoadBalancer });
same_terms!(Layer => core::Layer { L4 => L4, L7 => L7 });
same_terms!(RecycleCause => core::RecycleCause {
    PinnedClient => PinnedClient, HotBackend => HotBackend, StuckClient => StuckClient,
});
same_terms!(FenceEffect => core::FenceEffect { PreferNoSchedule => PreferNoSchedule, NoSchedule => NoSchedule });
same_terms!(LabelOperator => core::Operator {
    In => In, NotIn => NotIn, Exists => Exists, DoesNotExist => DoesNotExist,
});
same_terms!(ProxyMode => dataplane::ProxyMode {
    Iptables => Iptables, Ipvs => Ipvs, Nftables => Nftables, Cilium => Cilium, Other => Other,
});
