//! From documents into the core.

use std::path::{Path, PathBuf};

use evenkeel_core::findings::Unreadable;
use evenkeel_core::know::{Now, Source};
use evenkeel_core::sources::{FieldPath, Place as _};
use evenkeel_core::{Core, Input};
use serde_json::{Map, Value};

use super::document::{Document, documents, shortened};
use super::extent::{Given, spans};
use super::fields::{named, only_key, show, unrendered};
use super::head::{self, Head};
use super::list::ObjectList;
use super::measured;
use super::place::{InputFile, Place};
use super::refused::refused;
use super::route::{Route, route};
use super::{Options, Report, decode, find};
use crate::api::{self, Problem};
use crate::samples::{OwnedPage, stored};

/// The one key of what kube-proxy's `/configz` answers.
const CONFIGZ: &str = "kubeproxy.config.k8s.io";

/// What is taken from files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// Whatever they hold.
    Everything,
    /// Policies alone; anything else is a mistake.
    Policies,
}

/// A core at the receiving end of files.
pub(super) struct Feed<'a> {
    core: &'a mut Core,
    take: Take,
    options: &'a Options,
    report: &'a mut Report,
    given: Given,
    /// Whether the list that is being read holds objects of several namespaces.
    spans: bool,
    /// What was measured when the files were made.
    samples: Vec<OwnedPage>,
    homeless: u32,
    /// Objects that the core was given.
    objects: u64,
    /// Problems beyond the most that are listed.
    unlisted: u64,
    /// Whether the file was found in a folder, and not named.
    found: bool,
    /// Documents of found files that are no objects of Kubernetes at all: how many, and where the first one stands.
    strange: Option<(u32, String)>,
}

/// Most problems that are listed: a file of a million of them must not take memory for each.
const PROBLEMS: usize = 1000;

/// Most pages of samples: some 40 questions, each at several times, and those of teams.
const PAGES: usize = 4096;

/// The message for a text or a number where an object should be.
const NO_OBJECT: &str = "is no object; expected a mapping with apiVersion and kind";

impl<'a> Feed<'a> {
    pub(super) fn new(core: &'a mut Core, take: Take, options: &'a Options, report: &'a mut Report) -> Self {
        let mut feed = Self {
            core,
            take,
            options,
            report,
            given: Given::default(),
            spans: false,
            objects: 0,
            unlisted: 0,
            samples: Vec::new(),
            homeless: 0,
            found: false,
            strange: None,
        };
        if take == Take::Everything {
            for source in [Source::Policies, Source::ClusterPolicy] {
                feed.given.see(feed.core, source);
            }
        }
        feed
    }

    pub(super) fn paths(&mut self, paths: &[PathBuf]) {
        for path in paths {
            self.found = path.is_dir();
            for file in find::files(path, &mut self.report.problems) {
                self.file(&file);
            }
        }
        if self.homeless > 0 {
            self.report.note(format!(
                "{} objects name no namespace and are taken to be in `{}`",
                self.homeless, self.options.namespace
            ));
            self.homeless = 0;
        }
        if self.unlisted > 0 {
            self.report
                .note(format!("{} further problems are not listed", self.unlisted));
            self.unlisted = 0;
        }
        if let Some((count, first)) = self.strange.take() {
            self.report.note(format!(
                "{count} documents without kind and metadata are no objects of Kubernetes and were left aside, such as {first}"
            ));
        }
    }

    /// Leaves a mapping aside that is no object, as a chart's values. Where its file was named, it is a problem.
    fn no_object(&mut self, place: &Place<'_>, why: &str) {
        if self.found && !place.listed {
            let (count, _) = self.strange.get_or_insert_with(|| (0, place.begins()));
            *count += 1;
        } else {
            self.problem(|| place.begins(), why);
        }
    }

    /// Says which sources are complete, and which are not although they were seen.
    pub(super) fn finish(mut self) {
        if self.objects == 0 && self.given.is_nothing() && self.report.problems.is_empty() {
            self.problem(|| "--from".into(), "no object was found that any check reads");
        }
        let torn = std::mem::take(&mut self.given).finish(self.core);
        self.report.torn.extend(torn);
        measured::give(self.core, &mut self.samples, self.report);
    }

    fn file(&mut self, path: &Path) {
        let name = find::name(path);
        let bytes = match find::bytes(path, self.options.max_file_size).and_then(decode::utf8) {
            Ok(bytes) => bytes,
            Err(why) => return self.problem(|| name, why),
        };
        let file = InputFile::new(path, &name, &bytes);
        let mut any = false;
        documents(&bytes, &mut |document| {
            any = true;
            self.document(&file, document);
        });
        if !any {
            self.report.note(format!("{name} holds no document"));
        }
    }

    fn document(&mut self, file: &InputFile<'_>, document: Document<'_>) {
        let place = Place::document(file, &document);
        match document.json {
            Ok(json) => self.text(&json, &place, None),
            Err(fault) => {
                if self.take == Take::Everything {
                    for source in fault.lost {
                        self.given.tear(source, || {
                            let name = file.name;
                            format!("{name}, document {} was not read in full", document.number)
                        });
                    }
                }
                self.problem(|| file.at(document.number, fault.byte), fault.what);
            }
        }
    }

    /// One document or item of a list; `usual` is what a typed list says of items that say nothing themselves. The items
    /// of a list are looked at one by one, so that its values are never all in memory.
    fn text(&mut self, json: &str, place: &Place<'_>, usual: Option<(&str, &str)>) {
        if json.trim_start().starts_with('[') {
            return self.items(json, place, None, None);
        }
        let head = Head::of(json);
        if let Some(list) = head.as_ref().and_then(|head| ObjectList::of(head, usual)) {
            return self.list(&list, place);
        }
        if head.is_some_and(|head| self.as_it_is(json, &head, place, usual)) {
            return;
        }
        match head::value(json) {
            Ok(Value::Object(fields)) => self.value(fields, place, usual),
            Ok(_) => self.problem(|| place.begins(), NO_OBJECT),
            Err(why) => self.problem(|| place.begins(), why),
        }
    }

    /// Takes an object by its text, where the core reads its kind and nothing is to be added to it; else returns false.
    fn as_it_is(
        &mut self,
        json: &str,
        head: &Head<'_>,
        place: &Place<'_>,
        usual: Option<(&str, &str)>,
    ) -> bool {
        let known = head.version_and_kind(usual).zip(head.named());
        let Some(((version, kind), (namespace, name))) = known else {
            return false;
        };
        let Route::Object(source, namespaced) = route(&version, &kind) else {
            return false;
        };
        // Two kinds of one source are told apart by what the object says.
        let lacks_kind = head.kind.is_none() && source.kinds().len() > 1;
        let homeless = namespaced && namespace.is_empty();
        if lacks_kind || homeless || self.take == Take::Policies || unrendered(&namespace, &name).is_some() {
            return false;
        }
        let place = &place.of_object(show(&kind, &namespace, &name));
        self.fact(source, &kind, (&namespace, &name), json, place);
        true
    }

    /// One mapping that is no list.
    fn value(&mut self, mut fields: Map<String, Value>, place: &Place<'_>, usual: Option<(&str, &str)>) {
        if !fields.contains_key("kind") && fields.contains_key(CONFIGZ) {
            return self.configz(fields, place);
        }
        let named_so = place.file.path.to_string_lossy().contains("configz");
        if let (true, false, Some(key)) = (named_so, fields.contains_key("kind"), only_key(&fields)) {
            let why =
                format!("`/configz` of another component (key {key}), kube-proxy's has the key {CONFIGZ}");
            return self.problem(|| place.begins(), why);
        }
        if let Some((version, kind)) = usual {
            fields.entry("apiVersion").or_insert_with(|| version.into());
            fields.entry("kind").or_insert_with(|| kind.into());
        }
        let text = |key: &str| match fields.get(key) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(format!("{key}: `{}` is no text", shortened(&other.to_string()))),
        };
        match (text("apiVersion"), text("kind")) {
            (Err(why), _) | (_, Err(why)) => self.problem(|| place.begins(), why),
            (Ok(_), Ok(kind)) if kind.is_empty() && !fields.contains_key("metadata") => {
                self.no_object(place, "kind: missing or empty");
            }
            (Ok(_), Ok(kind)) if kind.is_empty() => {
                self.problem(|| place.begins(), "kind: missing or empty");
            }
            (Ok(_), Ok(kind)) if kind == "Status" && fields.get("status") == Some(&"Failure".into()) => {
                let said = fields
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or("no reason");
                let why = format!("is no object but an error of the API server: {}", shortened(said));
                self.problem(|| place.begins(), why);
            }
            (Ok(version), Ok(kind)) => self.object(fields, place, &version, &kind),
        }
    }

    fn list(&mut self, list: &ObjectList<'_>, place: &Place<'_>) {
        // Go writes an empty list as null.
        let items = if list.items == "null" { "[]" } else { list.items };
        if !items.starts_with('[') {
            return self.problem(|| place.begins(), "items: expected a list");
        }
        let (version, item) = (list.version.as_str(), list.item.as_str());
        if let (Route::Refused, Take::Everything) = (route(version, item), self.take) {
            self.given
                .collected
                .extend(place.file.path.parent().map(Path::to_owned));
            head::each_item(items, |index, item| match head::value(item).and_then(refused) {
                Ok(entry) => self.given.refused.push(entry),
                Err(why) => self.problem(|| place.item(Some(list.key), index, true).begins(), why),
            });
            return;
        }
        if let (Route::Samples, Take::Everything) = (route(version, item), self.take) {
            head::each_item(items, |index, item| {
                let page = stored::read(item);
                match page {
                    _ if self.samples.len() >= PAGES => self.unlisted += 1,
                    Ok(page) => self.samples.push(page),
                    Err(why) => self.problem(|| place.item(Some(list.key), index, true).begins(), why),
                }
            });
            return;
        }
        let typed = match route(version, item) {
            Route::Object(source, _) => Some(source),
            _ => None,
        };
        if let (Some(source), Take::Everything) = (typed, self.take) {
            let folder = place.file.path.parent().map(Path::to_owned);
            let extent = self.given.see(self.core, source);
            extent.lists.push(folder.unwrap_or_default());
            if list.goes_on {
                let why = "is one page of a longer list; get the whole of it";
                self.given.tear(source, || format!("{} {why}", place.begins()));
                self.problem(|| place.begins(), why);
            }
        }
        let usual = (!item.is_empty()).then_some((version, item));
        let before = std::mem::replace(&mut self.spans, spans(items));
        self.items(items, place, usual, Some(list.key));
        self.spans = before;
    }

    /// The items of a list, under a key or by itself.
    fn items(&mut self, items: &str, place: &Place<'_>, usual: Option<(&str, &str)>, key: Option<&str>) {
        head::each_item(items, |index, item| {
            let place = place.item(key, index, place.listed || key.is_some());
            if item.starts_with('[') {
                self.problem(|| place.begins(), NO_OBJECT);
            } else {
                self.text(item, &place, usual);
            }
        });
    }

    fn object(&mut self, mut fields: Map<String, Value>, place: &Place<'_>, version: &str, kind: &str) {
        let route = route(version, kind);
        let is_policy = matches!(route, Route::Policy | Route::ClusterPolicy);
        if self.take == Take::Policies && !is_policy {
            let why = format!("is a {kind}; --policy takes policies alone, the rest is for --from");
            return self.problem(|| place.begins(), why);
        }
        if matches!(route, Route::Object(_, true) | Route::Policy) {
            self.home(&mut fields);
        }
        let (namespace, name) = named(&fields);
        let place = &place.of_object(show(kind, namespace, name));
        if let Some(why) = unrendered(namespace, name).filter(|_| route != Route::Ignored) {
            return self.problem(|| place.begins(), why);
        }
        match route {
            Route::Object(source, _) => {
                let names = (namespace.to_owned(), name.to_owned());
                let json = Value::Object(fields).to_string();
                self.fact(source, kind, (&names.0, &names.1), &json, place);
            }
            Route::Policy | Route::ClusterPolicy => {
                self.note(kind, (namespace, name), place);
                self.policy(&Value::Object(fields), place);
            }
            Route::ProxyConfiguration => {
                let at = place.begins();
                self.report.note(format!(
                    "{at} is kube-proxy's configuration by itself, and which nodes use it is not known: it counts where no process and no ConfigMap of kube-proxy is given"
                ));
                let text = Value::Object(fields).to_string();
                self.objects += 1;
                self.tell(Input::ProxyDocument(&at, &text));
            }
            Route::Refused => {
                let why = "stands by itself; expected a list of kind UnreadableList";
                self.problem(|| place.begins(), why);
            }
            Route::Samples => {
                let why = "stands by itself; expected a list of kind SamplePageList";
                self.problem(|| place.begins(), why);
            }
            Route::Ignored => *self.report.ignored.entry(kind.to_owned()).or_default() += 1,
            Route::Wrong(why) => self.problem(|| place.begins(), why),
        }
    }

    /// Takes an object that the core reads.
    fn fact(&mut self, source: Source, kind: &str, names: (&str, &str), json: &str, place: &Place<'_>) {
        self.note(kind, names, place);
        let extent = self.given.see(self.core, source);
        extent.spans |= self.spans;
        extent.namespaces.insert(names.0.to_owned());
        self.objects += 1;
        self.tell(Input::Object {
            source,
            json: json.as_bytes(),
            place: Some(place),
        });
    }

    fn note(&mut self, kind: &str, names: (&str, &str), place: &Place<'_>) {
        let places = &mut self.report.places;
        places.note(kind, names, place.file.path, || place.line());
    }

    fn policy(&mut self, draft: &Value, place: &Place<'_>) {
        self.objects += 1;
        match api::input(draft) {
            Ok(input) => self.tell(input),
            Err(problems) => {
                for problem in &problems {
                    let field = FieldPath::parse(&problem.field);
                    self.problem(|| place.of(&field), Problem::to_string(problem));
                }
            }
        }
    }

    /// The node is named by the file where it lies in a folder `configz`, as `collect` writes it.
    fn configz(&mut self, fields: Map<String, Value>, place: &Place<'_>) {
        if self.take == Take::Policies {
            return self.problem(|| place.begins(), "is no policy");
        }
        let path = place.file.path;
        let folder = path.parent().and_then(Path::file_name);
        let node = path
            .file_stem()
            .filter(|_| folder.is_some_and(|name| name == "configz"));
        let node = node
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let body = Value::Object(fields).to_string();
        self.objects += 1;
        self.tell(Input::Configz(&node, &body));
    }

    /// Gives an object without a namespace one, as `kubectl apply` would.
    fn home(&mut self, fields: &mut Map<String, Value>) {
        let Some(Value::Object(metadata)) = fields.get_mut("metadata") else {
            return;
        };
        if matches!(metadata.get("namespace"), None | Some(Value::Null)) {
            metadata.insert("namespace".into(), self.options.namespace.as_str().into());
            self.homeless += 1;
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        self.core.handle(Now::ONCE, input);
    }

    /// Lists a problem. Where it is, is worked out only where it is listed.
    fn problem(&mut self, source: impl FnOnce() -> String, reason: impl Into<String>) {
        if self.report.problems.len() >= PROBLEMS {
            self.unlisted += 1;
            return;
        }
        self.report.problems.push(Unreadable {
            source: source(),
            reason: reason.into(),
        });
    }
}
