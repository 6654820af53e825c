//! The slices of one service as they are now, from what a watch tells. No I/O.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::Event;

type ByName = BTreeMap<String, EndpointSlice>;

#[derive(Debug, Default)]
pub(super) struct Slices {
    current: ByName,
    /// A list that is not complete yet: until it is, what was there holds.
    listing: Option<ByName>,
}

impl Slices {
    /// Whether what is there may have changed.
    pub(super) fn take(&mut self, event: Event<EndpointSlice>) -> bool {
        match event {
            Event::Init => {
                self.listing = Some(ByName::new());
                false
            }
            Event::InitApply(slice) => {
                self.listing.get_or_insert_default().insert(name(&slice), slice);
                false
            }
            Event::InitDone => {
                self.current = self.listing.take().unwrap_or_default();
                true
            }
            Event::Apply(slice) => {
                self.current.insert(name(&slice), slice);
                true
            }
            Event::Delete(slice) => self.current.remove(&name(&slice)).is_some(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &EndpointSlice> + Clone {
        self.current.values()
    }
}

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(name: &str) -> EndpointSlice {
        serde_json::from_value(serde_json::json!({
            "addressType": "IPv4", "endpoints": [], "metadata": { "name": name },
        }))
        .expect("a slice")
    }

    #[test]
    fn a_list_replaces_what_was_there_once_it_is_complete() {
        let mut slices = Slices::default();
        for (event, changed, names) in [
            (Event::Init, false, &[][..]),
            (Event::InitApply(slice("a")), false, &[]),
            (Event::InitApply(slice("b")), false, &[]),
            (Event::InitDone, true, &["a", "b"]),
            (Event::Apply(slice("c")), true, &["a", "b", "c"]),
            (Event::Delete(slice("a")), true, &["b", "c"]),
            (Event::Delete(slice("x")), false, &["b", "c"]),
            (Event::Init, false, &["b", "c"]), // the watch was lost
            (Event::InitApply(slice("d")), false, &["b", "c"]),
            (Event::Init, false, &["b", "c"]), // and the list, too
            (Event::InitApply(slice("c")), false, &["b", "c"]),
            (Event::InitDone, true, &["c"]),
        ] {
            let case = format!("{event:?}");
            assert_eq!(slices.take(event), changed, "{case}");
            assert_eq!(slices.iter().map(name).collect::<Vec<_>>(), names, "{case}");
        }
    }
}
