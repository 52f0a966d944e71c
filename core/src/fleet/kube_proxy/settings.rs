//! The settings of an installation, from wherever its configuration lies.

use super::container::{config_map_of, container_of};
use super::{ProxyChoice, ProxyInstallations, Sure, document};
use crate::dataplane::kube_proxy::{
    ConfigSource, Settings, command_line, node_args, runs_kube_proxy, settings,
};
use crate::dataplane::version::Version;
use crate::fleet::place;
use crate::index::Index;
use crate::know::{Gap, Known, Source};
use crate::names::{Key, Name};
use crate::sources::config_map::ConfigMap;
use crate::sources::workload::Template;

impl ProxyInstallations {
    /// What an installation effectively does; `None` where none runs.
    pub(in crate::fleet) fn settings(
        index: &Index,
        choice: &ProxyChoice,
        os: &str,
        kubelet: &str,
    ) -> Option<Known<Settings>> {
        let version = Version::parse(kubelet);
        match choice {
            ProxyChoice::Nothing => None,
            ProxyChoice::Absent(absence) => Some(Err(Gap::Opaque(absence.show(index).into()))),
            ProxyChoice::Unread(source) => Some(Err(index.gap(*source).unwrap_or(Gap::Missing(*source)))),
            ProxyChoice::Configz(node) => {
                let body = index.configz.get(node).cloned().unwrap_or_default();
                let place = match index.names.text(*node) {
                    "" => "kube-proxy /configz".to_owned(),
                    node => format!("kube-proxy on node {node} /configz"),
                };
                Some(settings(
                    &ConfigSource::Configz {
                        body: &body,
                        place: &place,
                    },
                    os,
                    version,
                ))
            }
            ProxyChoice::K3s(annotation, args) => k3s(index, *annotation, *args, os, version),
            ProxyChoice::ConfigMap(key) => Some(alone(index, *key, os, version).map(|mut settings| {
                settings.weaken("no kube-proxy process was seen");
                settings
            })),
            ProxyChoice::Document => Some(by_itself(index, os, version).map(|mut settings| {
                settings.weaken("no kube-proxy process was seen, nor who reads the file");
                settings
            })),
            ProxyChoice::DaemonSet(key, sure) => {
                let template = &index.daemon_sets.get(*key)?.template;
                let known = of_container(index, ("DaemonSet", *key), template, os, version);
                Some(sure.weaken(known))
            }
            ProxyChoice::Pod(key, sure) => {
                let template = &index.pods.get(*key)?.template;
                let known = of_container(index, ("Pod", *key), template, os, version);
                Some(sure.weaken(known))
            }
        }
    }
}

impl Sure {
    /// The settings, as sure as they are.
    fn weaken(self, known: Known<Settings>) -> Known<Settings> {
        let why = match self {
            Self::Runs => return known,
            Self::Stale => {
                "written after this kube-proxy had started, which may run with what stood there before"
            }
            Self::Coming => "its Pod is not on the node yet",
            Self::Neighbour => "seen on another node alone",
        };
        known.map(|mut settings| {
            settings.weaken(why);
            settings
        })
    }
}

fn alone(index: &Index, key: Key, os: &str, version: Option<Version>) -> Known<Settings> {
    let place = place(index, "ConfigMap", key);
    let map = index.config_maps.get(key);
    let usual = |map: &ConfigMap| {
        map.data
            .iter()
            .find(|(key, _)| !key.contains("kubeconfig"))
            .cloned()
    };
    let found = map.and_then(|map| document(map).cloned().or_else(|| usual(map)));
    let Some((data_key, text)) = found else {
        return Err(Gap::Opaque(
            format!("{place} holds no configuration of kube-proxy").into(),
        ));
    };
    let source = ConfigSource::Document {
        text: &text,
        place: &place,
        argv: &[],
    };
    settings(&source, os, version).map_err(|gap| at_key(gap, &place, &data_key))
}

/// The same gap with the key of the ConfigMap that it is about.
fn at_key(gap: Gap, place: &str, key: &str) -> Gap {
    match gap {
        Gap::Opaque(why) => match why.strip_prefix(place) {
            Some(rest) => Gap::Opaque(format!("{place} key {key}:{}", rest.trim_start_matches(':')).into()),
            None => Gap::Opaque(why),
        },
        other => other,
    }
}

/// The settings of a configuration file that lies in no object.
fn by_itself(index: &Index, os: &str, version: Option<Version>) -> Known<Settings> {
    let mut documents = index.proxy_documents.iter();
    let Some((place, text)) = documents.next() else {
        return Err(Gap::Opaque("no configuration of kube-proxy was given".into()));
    };
    if let Some((other, _)) = documents.find(|(_, other)| *other != text) {
        return Err(Gap::Opaque(
            format!("{place} and {other} configure kube-proxy differently, and which of them the nodes use is not known").into(),
        ));
    }
    settings(
        &ConfigSource::Document {
            text,
            place,
            argv: &[],
        },
        os,
        version,
    )
}

fn k3s(
    index: &Index,
    annotation: Name,
    args: Name,
    os: &str,
    version: Option<Version>,
) -> Option<Known<Settings>> {
    let args = match node_args(index.names.text(args)) {
        Ok(args) => args,
        Err(gap) => return Some(Err(gap)),
    };
    runs_kube_proxy(&args).then(|| {
        settings(
            &ConfigSource::K3s {
                args: &args,
                place: &format!("Node annotation {}", index.names.text(annotation)),
            },
            os,
            version,
        )
    })
}

/// The settings of a container: by its `--config`, else by its flags.
fn of_container(
    index: &Index,
    owner: (&str, Key),
    template: &Template,
    os: &str,
    kubelet: Option<Version>,
) -> Known<Settings> {
    let container = container_of(&index.names, template).ok_or_else(|| {
        Gap::Opaque(format!("{} {} runs no kube-proxy", owner.0, index.show(owner.1)).into())
    })?;
    let argv = container.command(&index.names);
    let version = Version::of_image(index.names.text(container.image)).or(kubelet);
    let Some(path) = command_line(&argv)?.config()? else {
        let place = place(index, owner.0, owner.1);
        return settings(
            &ConfigSource::Flags {
                argv: &argv,
                place: &place,
            },
            os,
            version,
        );
    };
    let (map, key) = config_map_of(&index.names, owner, template, container, &path)?;
    if let Some(gap) = index.gap_at(Source::ConfigMaps, map) {
        return Err(gap);
    }
    let place = place(index, "ConfigMap", map);
    let row = index.config_maps.get(map);
    let text = row.and_then(|map| map.get(&key)).ok_or_else(|| {
        let keys = row.map(|map| &map.data).into_iter().flatten();
        let mut like = keys.filter(|(held, _)| held.eq_ignore_ascii_case(&key));
        let like = like
            .next()
            .map_or_else(String::new, |(held, _)| format!(" (it has {held})"));
        let reader = index.show(owner.1);
        let why = format!(
            "{place} key {key}: not found{like}, though {} {reader} reads it",
            owner.0
        );
        Gap::Opaque(why.into())
    })?;
    let source = ConfigSource::Document {
        text,
        place: &place,
        argv: &argv,
    };
    settings(&source, os, version).map_err(|gap| at_key(gap, &place, &key))
}
