//! Valid modules and components out of any bytes, by wasm-smith: what the targets `modules` and
//! `components` feed to `prepare` and `prepare_component`.

use arbitrary::Unstructured;
use wasm_encoder::{Component, ComponentSectionId, InstanceSection, ModuleArg, RawSection};

/// A module; its first byte says which proposals it may use. `None` when the bytes do not suffice.
#[must_use]
pub fn module(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, bytes) = data.split_first()?;
    from(*kind, 4, &mut Unstructured::new(bytes))
}

/// A component; what its first byte says depends on its upper half: one that wasm-smith
/// makes as a whole, of which next to none have a memory, or some of its modules, each instantiated
/// once or twice.
#[must_use]
pub fn component(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, bytes) = data.split_first()?;
    let mut source = Unstructured::new(bytes);
    if kind >> 4 == 0 {
        let component = wasm_smith::Component::new(wasm_smith::Config::default(), &mut source).ok()?;
        return Some(component.to_bytes());
    }
    let mut component = Component::new();
    let mut instances = InstanceSection::new();
    for module in 0..=u32::from(kind & 3) {
        let kind = source.arbitrary().ok()?;
        let data = from(kind, 0, &mut source)?;
        let id = ComponentSectionId::CoreModule as u8;
        component.section(&RawSection { id, data: &data });
        for _ in 0..=kind & 1 {
            instances.instantiate(module, std::iter::empty::<(&str, ModuleArg)>());
        }
    }
    component.section(&instances);
    Some(component.finish())
}

fn from(kind: u8, max_imports: usize, source: &mut Unstructured<'_>) -> Option<Vec<u8>> {
    let on = |bit: u8| kind & 1 << bit != 0;
    let config = wasm_smith::Config {
        min_memories: 1,
        max_memories: if on(0) { 2 } else { 1 },
        memory64_enabled: on(1),
        simd_enabled: on(2),
        bulk_memory_enabled: on(3),
        reference_types_enabled: on(4),
        exceptions_enabled: on(5),
        gc_enabled: on(6),
        min_funcs: usize::from(on(7)),
        max_imports,
        ..wasm_smith::Config::default()
    };
    let module = wasm_smith::Module::new(config, source).ok()?;
    Some(module.to_bytes())
}
