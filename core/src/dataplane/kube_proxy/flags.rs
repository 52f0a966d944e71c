//! Settings from a command line without `--config`.

use super::{Absent, Raw, command_line};
use crate::know::{Gap, Known, Origin};

pub(super) fn read(argv: &[String], place: &str) -> Known<Raw> {
    let line = command_line(argv).map_err(|gap| at(place, &gap))?;
    if let Some(file) = line.config().map_err(|gap| at(place, &gap))? {
        return Err(Gap::Opaque(
            format!("{place} names the file {file} by --config, and its content was not found").into(),
        ));
    }
    let mut raw = Raw::new(Absent::Default, Origin::Declared);
    for setting in line.settings() {
        let (names, value) = setting.map_err(|gap| at(place, &gap))?;
        raw.set(names.key, format!("--{}", names.flag), value, place)?;
    }
    Ok(raw)
}

fn at(place: &str, gap: &Gap) -> Gap {
    Gap::Opaque(format!("{place}: {gap}").into())
}
