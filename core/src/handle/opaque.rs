//! Objects that were not understood, or not kept: remembered until they change or go.

use serde_json::Value;

use crate::index::{MOST_OPAQUE, Opaque, Part};
use crate::know::Source;
use crate::names::{Key, Name};
use crate::program::Core;
use crate::sources::slice::SERVICE_NAME;
use crate::sources::{DecodeError, Place};

impl Core {
    /// Remembers an object that was not understood, as far as its metadata still names it. What was known of
    /// it before is dropped: an old word is not the present one.
    pub(super) fn opaque(
        &mut self,
        source: Source,
        json: &[u8],
        why: &DecodeError,
        place: Option<&dyn Place>,
    ) {
        // Field by field: what is wrong with one must not hide which object it is.
        let bare: Value = serde_json::from_slice(json).unwrap_or_default();
        let text = |at: &str| bare.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let place = place.map(|place| place.of(&why.field));
        let names = &mut self.index.names;
        let key = match text("/metadata/name") {
            // In files there may be many of them, and each is listed.
            "" => Key {
                namespace: Name::EMPTY,
                name: names.intern(place.as_deref().unwrap_or_default()),
            },
            name => Key {
                // Two kinds of webhook configurations share a table and differ by their kind.
                namespace: names.intern(text(if source == Source::Webhooks {
                    "/kind"
                } else {
                    "/metadata/namespace"
                })),
                name: names.intern(name),
            },
        };
        let service = bare
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(SERVICE_NAME)?.as_str());
        let service = names.intern(service.unwrap_or_default());
        let (namespace, name) = (names.shared(key.namespace), names.shared(key.name));
        self.gone(source, &namespace, &name);
        let opaque = Opaque {
            why: why.to_string().into(),
            place: place.map(Into::into),
            service,
            unnamed: false,
        };
        self.remember_opaque(source, key, opaque);
    }

    /// Remembers such an object, in full or as one of a crowd.
    pub(super) fn remember_opaque(&mut self, source: Source, key: Key, opaque: Opaque) {
        let index = &mut self.index;
        let remembered = index.opaque_in(source, key.namespace).take(MOST_OPAQUE).count();
        let first = index.crowds.count(source, key.namespace) == 0;
        let name = index.names.text(key.name);
        if index.crowds.take(source, key.namespace, name, remembered) {
            self.dirty_crowd(source, key, first);
        } else {
            self.dirty_opaque(source, key, &opaque);
            self.index.opaque.insert((source, key), opaque);
        }
    }

    /// Forgets one that is gone, or is understood now.
    pub(super) fn forget_opaque(&mut self, source: Source, key: Key) {
        if let Some(opaque) = self.index.opaque.remove(&(source, key)) {
            self.dirty_opaque(source, key, &opaque);
        }
        let name = self.index.names.text(key.name);
        if let Some(was_last) = self.index.crowds.release(source, key.namespace, name) {
            self.dirty_crowd(source, key, was_last);
        }
    }

    /// Forgets those that are no longer listed.
    pub(super) fn sweep_opaque(&mut self, source: Source) {
        let opaque = self.index.opaque.iter();
        let unnamed = opaque.filter(|(at, opaque)| at.0 == source && opaque.unnamed);
        let gone: Vec<Key> = unnamed.map(|(at, _)| at.1).collect();
        for key in &gone {
            if let Some(opaque) = self.index.opaque.remove(&(source, *key)) {
                self.dirty_opaque(source, *key, &opaque);
            }
        }
        for namespace in self.index.crowds.sweep(source) {
            // Which they were is not known any more.
            let name = Name::EMPTY;
            self.dirty_crowd(source, Key { namespace, name }, true);
        }
    }

    /// Dirties what an object that was not understood may concern.
    pub(super) fn dirty_opaque(&mut self, source: Source, key: Key, opaque: &Opaque) {
        match source {
            // Who looks for Pods looks for what makes them, too.
            Source::Pods | Source::Deployments | Source::DaemonSets => {
                self.dirt.pods_in.insert(key.namespace);
            }
            Source::Services => {
                self.dirt.services.insert(key);
                self.dirt.refused_services.insert(key);
            }
            Source::ConfigMaps => self.touch(source),
            _ => {}
        }
        if source == Source::EndpointSlices {
            let may_belong = |service: &Key| opaque.may_belong(key, *service);
            let dirty = &mut self.dirt.slices;
            if key.namespace.is_empty() {
                let all = self.index.services.iter().map(|(service, _)| service);
                dirty.extend(all.filter(may_belong));
            } else {
                dirty.extend(self.index.services_in.of(key.namespace).filter(may_belong));
            }
            // A Service that others name may not exist, and may have had endpoints all the same.
            self.dirt.opaque_slices.insert(key.namespace);
        }
    }

    /// Dirties what one more or one less of a crowd concerns: all of its namespace where it is the first or was the last.
    fn dirty_crowd(&mut self, source: Source, key: Key, all: bool) {
        match source {
            Source::Services => {
                self.dirt.services.insert(key);
                self.dirt.refused_services.insert(key);
            }
            Source::EndpointSlices if all => {
                self.dirt.opaque_slices.insert(key.namespace);
            }
            Source::EndpointSlices => {}
            // Who looks for Pods looks for what makes them, too. It says nothing of the data plane.
            _ => {
                self.dirt.pods_in.insert(key.namespace);
                return;
            }
        }
        if all {
            self.touch_freshness(source, Part::Namespace(key.namespace));
        }
    }
}
