//! A cluster with evenkeel is never worse off than without it: a sample of seeds for each size, fill and trouble. The
//! benchmark `harm` prints the whole table.

mod model;

use model::{Arm, Cell, Run, Trouble, is_worse, play};

/// Seeds of each cell here; the benchmark plays more.
const SEEDS: u64 = 2;

fn cells() -> impl Iterator<Item = Cell> {
    let sizes = [5, 12, 30];
    let fills = [50, 70, 85, 95];
    sizes.into_iter().flat_map(move |nodes| {
        fills.into_iter().flat_map(move |percent| {
            Trouble::ALL.into_iter().map(move |trouble| Cell {
                nodes,
                percent,
                trouble,
            })
        })
    })
}

fn minutes(cell: Cell, arm: Arm) -> (f64, u32) {
    let runs = (0..SEEDS).map(|seed| {
        let run = play(cell, seed, arm);
        assert!(run.broken.is_empty(), "{cell:?}, seed {seed}: {:?}", run.broken);
        run
    });
    runs.fold((0.0, 0), |(minutes, fences), run| {
        (minutes + run.not_ready, fences + run.fences)
    })
}

#[test]
fn no_cluster_is_worse_off() {
    let (mut fences, mut saved, mut of) = (0, 0.0, 0.0);
    let mut worse = Vec::new();
    for cell in cells() {
        let (without, _) = minutes(cell, Arm::Without);
        let (with, fenced) = minutes(cell, Arm::Guarded);
        if is_worse(with, without) {
            worse.push(format!(
                "{cell:?}: {with:.1} minutes with, {without:.1} without, {fenced} fences"
            ));
        }
        fences += fenced;
        if fenced > 0 {
            (saved, of) = (saved + without - with, of + without);
        }
    }
    assert!(worse.is_empty(), "worse:\n{}", worse.join("\n"));
    assert!(fences > 0, "nothing was fenced, so nothing was tried");
    assert!(
        saved * 10.0 > of,
        "fences saved {saved:.0} of {of:.0} minutes: they are hardly worth it"
    );
}

#[test]
fn one_seed_is_one_run() {
    let cell = Cell {
        nodes: 12,
        percent: 60,
        trouble: Trouble::SickAndBursts,
    };
    let [one, other] = [(); 2].map(|()| play(cell, 7, Arm::Guarded));
    // By their bits: the same to the last one.
    let minutes = |run: &Run| run.not_ready.to_bits();
    assert_eq!(
        (minutes(&one), one.pending, one.fences),
        (minutes(&other), other.pending, other.fences)
    );
    assert_eq!(one.held, other.held);
    assert_ne!(minutes(&play(cell, 8, Arm::Guarded)), minutes(&one));
}
