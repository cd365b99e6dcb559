//! Tells the source for which Python it is compiled (`cfg(Py_3_12)` and its like), and whether its tasks can be lazy.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    println!("cargo::rustc-check-cfg=cfg(lazy_tasks)");
    // Before 3.11 a task cannot be given its context; from 3.14 on tasks are registered in another way.
    let version = pyo3_build_config::get().version();
    if (11..=13).contains(&version.minor) {
        println!("cargo::rustc-cfg=lazy_tasks");
    }
}
