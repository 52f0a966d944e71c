//! Kinds that are read anew, as there is room for what was refused.

use super::*;

fn shop(source: Source) -> Vec<(Source, Arc<str>)> {
    vec![(source, "shop".into())]
}

#[test]
fn a_kind_is_read_anew_and_stays_known() {
    let mut bed = Bed::default();
    bed.want(&[]);
    let id = bed.id(Source::Services, "");
    bed.take(id, vec![What::Begin, pod("a"), What::Synced]);
    let (change, told) = bed.read_again(1_000, shop(Source::Services));
    let [start] = &change.start[..] else {
        panic!("{change:?}")
    };
    assert_eq!((start.known, &change.stop[..]), (true, &[id][..]));
    // As the core knows since the list ended: nothing became Missing.
    assert_eq!(told, ["Complete services"]);
    // The last words of the pump before count no longer.
    assert_eq!(bed.take(id, vec![pod("b")]), [""; 0]);
    let told = bed.take(start.id, vec![What::Begin, pod("a"), What::Synced]);
    assert_eq!(told, ["begin services", "services shop/a", "synced services"]);

    // The next time is ten seconds after that at the earliest.
    assert_eq!(
        bed.read_again(2_000, shop(Source::Services)).0,
        TargetChange::default()
    );
    assert_eq!(bed.intake.due(), Some(Mono(11_000)));
    assert_eq!(bed.read_again(10_999, Vec::new()).0, TargetChange::default());
    assert_eq!(bed.read_again(11_000, Vec::new()).0.start.len(), 1);
    assert_eq!(bed.intake.due(), None);
}

#[test]
fn what_is_to_be_read_all_the_time_is_read_ever_more_rarely() {
    let mut bed = Bed::default();
    bed.want(&[]);
    let mut read = Vec::new();
    for second in 0..3_000 {
        let (change, _) = bed.read_again(second * 1_000, shop(Source::Services));
        if !change.start.is_empty() {
            read.push(second);
        }
    }
    assert_eq!(read[..7], [0, 10, 30, 70, 150, 310, 610]);
    assert_eq!(read.len(), 7 + (3_000 - 610) / 300);
    // Nothing was to be read for long enough: as at first.
    let later = 4_000_000;
    for (at, count) in [(0, 1), (9_999, 0), (10_000, 1)] {
        let (change, _) = bed.read_again(later + at, shop(Source::Services));
        assert_eq!(change.start.len(), count, "{at}");
    }
}

#[test]
fn a_namespace_of_which_pods_were_left_out_is_not_known_by_it() {
    let mut bed = Bed::default();
    bed.want(&[("shop", "")]);
    let id = bed.id(Source::Pods, "/shop/");
    let pods = (0..=20_000).map(|at| pod(&format!("p{at}")));
    let list = std::iter::once(What::Begin).chain(pods).chain([What::Synced]);
    bed.take(id, list.collect());
    let (change, told) = bed.read_again(1_000, shop(Source::Pods));
    assert_eq!(change, TargetChange::default());
    assert_eq!(told, [""; 0], "it is a gap as before");
}

#[test]
fn pods_are_read_anew_of_that_namespace_alone() {
    let mut bed = Bed::default();
    bed.want(&[("shop", "x=1"), ("pay", "")]);
    let id = bed.id(Source::Pods, "/shop/");
    bed.take(id, vec![What::Begin, pod("a"), What::Synced]);
    let (change, told) = bed.read_again(1_000, shop(Source::Pods));
    assert_eq!(change.stop, [id]);
    assert_eq!(told, [""; 0]);
    let [start] = &change.start[..] else {
        panic!("{change:?}")
    };
    assert!(start.known);
    // What is not there any more goes when the new list has ended.
    let told = bed.take(start.id, vec![What::Begin, pod("b"), What::Synced]);
    assert_eq!(told, ["pods shop/b", "gone pods shop/a"]);
    // What nothing watches is not read.
    assert_eq!(bed.read_again(2_000, shop(Source::Deployments)).0.start.len(), 1);
    let nobody = vec![(Source::Pods, "other".into())];
    assert_eq!(bed.read_again(3_000, nobody).0, TargetChange::default());
    assert_eq!(bed.intake.due(), None);
}
