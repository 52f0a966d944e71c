//! What the operator may do, verb by verb: the page is what the code declares, and `manifests` and `chart` compare that with what
//! is granted.

use std::fmt::Write;

use evenkeel::rights::{Right, RightScope};
use evenkeel::{instances, lease, lookup, remedy, send, watch};

use crate::docs::assert_current;

const HEAD: &str = "\
<!-- Generated from the rights that the code declares: make bless -->
# What the operator may do

`manifests/rbac*.yaml` and the chart grant exactly these; a test compares both with the code. Another test
(`e2e/tests/it/tenant/rights.rs`) reads the audit log of an API server after a run: nothing is used that is not declared, and
nothing is declared that is not used, but for what is said below the table. There is no right to Secrets, none to change a
`spec`, and no wildcard.

| verbs | resource | where | what for |
|---|---|---|---|
";

const BETWEEN: &str = "
Not used in every cluster:

- `list`: where the API server does not stream lists (before Kubernetes 1.34, or without its feature gate `WatchList`). Of
  Events one is listed then, to learn from which moment to watch.
- `get` of ConfigMaps: `evenkeel audit` reads them by name, and may be given the same role.
- Kinds of Cilium, Calico, the Tigera operator and MetalLB: where these are installed. A right to a kind that a cluster does
  not have grants nothing.
- `get` of Pods: when an Event says that a Pod was evicted or preempted, at most 12 a minute of a namespace.

With the component `instance-metrics`, and with nothing else, come these as well:

| verbs | resource | where | what for |
|---|---|---|---|
";

const FENCING: &str = "
With the component `remedy-cordon`, which is off by default, come these as well. An operator that runs with `--remedies` uses
them. Of a Node admission policies let the account change its own taint and its annotations `evenkeel.dev/fence-*`, and nothing else
([fencing of nodes](install.md#fencing-of-nodes)); of Leases and ConfigMaps these are `evenkeel-remedy` and `evenkeel-stop`.

| verbs | resource | where | what for |
|---|---|---|---|
";

fn line(right: &Right) -> String {
    let Right {
        group,
        resource,
        verbs,
        scope,
        why,
    } = right;
    let kind = if group.is_empty() {
        (*resource).to_owned()
    } else {
        format!("{resource}.{group}")
    };
    let place = match scope {
        RightScope::Cluster => "everywhere",
        RightScope::Namespace(namespace) => namespace,
    };
    format!("| {} | `{kind}` | {place} | {why} |\n", verbs.join(", "))
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let all = [watch::RIGHTS, lookup::RIGHTS, send::RIGHTS, lease::RIGHTS];
    page.extend(all.into_iter().flatten().map(line));
    page.push_str(BETWEEN);
    page.extend(instances::RIGHTS.iter().map(line));
    writeln!(
        page,
        "| get | the path `/metrics` | everywhere | reads what each API server measures of itself |"
    )
    .unwrap();
    page.push_str(FENCING);
    page.extend(remedy::RIGHTS.iter().map(line));
    page
}

#[test]
fn the_page_is_current() {
    assert_current("docs/rights.md", &page());
}
