//! The limit on memory of the process's own control group, in version 1 and 2 (cgroups(7)). That on processor time is
//! not here: `std::thread::available_parallelism` takes it into account.
//!
//! ```text
//! /proc/self/cgroup     0::/system.slice/app.service           the group, within its hierarchy
//! /proc/self/mountinfo  … / /sys/fs/cgroup … - cgroup2 …       the group that is mounted, and where
//!                       ⇒ /sys/fs/cgroup/system.slice/app.service/memory.max, and that of each group above
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// Bytes of a file that are read. A machine with ten thousand mounts has some two megabytes of `mountinfo`.
const MAX_FILE: u64 = 8 << 20;

/// Version 1 has a number of this size for "no limit".
const UNLIMITED: u64 = 1 << 62;

/// The lowest limit on memory of the process's group and of the groups above it, in bytes. `None` if memory is not
/// limited, or if that cannot be read.
pub(crate) fn memory_limit() -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    lowest_limit(&groups, &mounts, read)
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FILE).read_to_end(&mut content).ok()?;
    Some(content)
}

/// The lowest limit, from the content of `cgroup` and `mountinfo`, and from files that `read` reads.
fn lowest_limit(
    groups: &[u8],
    mounts: &[u8],
    read: impl Fn(&Path) -> Option<Vec<u8>>,
) -> Option<u64> {
    let mut lowest = None;
    for (version, group) in groups_with_memory(groups) {
        let mounts = mounts.split(|byte| *byte == b'\n').filter_map(Mount::parse);
        let visible = mounts
            .filter(|mount| mount.version == version)
            .filter_map(|mount| Some((mount.path_of(&group)?, mount)));
        // The one that shows most of the groups above.
        let widest = visible.max_by_key(|(within, _)| within.components().count());
        let Some((within, mount)) = widest else {
            continue;
        };
        for above in within.ancestors() {
            let folder = mount.point.join(above);
            let limits = version.files().iter().filter_map(|name| {
                let text = String::from_utf8(read(&folder.join(name))?).ok()?;
                // `max` means no limit.
                let bytes: u64 = text.trim().parse().ok()?;
                (1..UNLIMITED).contains(&bytes).then_some(bytes)
            });
            lowest = limits.chain(lowest).min();
        }
    }
    lowest
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CgroupVersion {
    One,
    Two,
}

impl CgroupVersion {
    /// The files with a limit. At `high` the kernel slows the group's processes down, so that it is of no use to have
    /// more.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::One => &["memory.limit_in_bytes"],
            Self::Two => &["memory.max", "memory.high"],
        }
    }
}

/// The groups of a process that may limit its memory: one of version 2, one of version 1, or both.
fn groups_with_memory(text: &[u8]) -> impl Iterator<Item = (CgroupVersion, PathBuf)> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        // `hierarchy:controllers:path`; the path may have colons.
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let version = if controllers.is_empty() {
            CgroupVersion::Two
        } else if has_item(controllers, b"memory") {
            CgroupVersion::One
        } else {
            return None;
        };
        Some((version, PathBuf::from(OsString::from_vec(path.to_vec()))))
    })
}

fn has_item(list: &[u8], item: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|it| it == item)
}

/// A mount of a hierarchy that may limit memory.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: CgroupVersion,
    /// The group that is visible at `point`. In a container it may be the container's.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// Parses a line of `mountinfo` (proc_pid_mountinfo(5)):
    /// `id parent device root point options [field…] - type source options`.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        fields.find(|field| *field == b"-")?;
        let (kind, _, options) = (fields.next()?, fields.next()?, fields.next()?);
        let version = match kind {
            b"cgroup2" => CgroupVersion::Two,
            b"cgroup" if has_item(options, b"memory") => CgroupVersion::One,
            _ => return None,
        };
        Some(Self {
            version,
            root: unescaped(root),
            point: unescaped(point),
        })
    }

    /// The path of a group below `point`. `None` if it is not visible there.
    fn path_of(&self, group: &Path) -> Option<PathBuf> {
        let within = group.strip_prefix(&self.root).ok()?;
        // A group outside of the process's cgroup namespace begins with `..`, and is not visible.
        let mut parts = within.components();
        let is_below = parts.all(|part| matches!(part, Component::Normal(_)));
        is_below.then(|| within.to_owned())
    }
}

/// A path of `mountinfo`, in which white space and backslashes are written as `\040`.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = after.first_chunk::<3>().and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match code {
            Some(code) if *first == b'\\' => {
                path.push(code);
                rest = &after[3..];
            }
            _ => {
                path.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
    const V1: &str = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw shared:1 master:2 - cgroup cgroup rw,memory\n";

    /// The limit in a tree of these files, whose paths begin at its root.
    fn limit(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        let tree = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = tree.path().join(path.strip_prefix('/').unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        lowest_limit(groups.as_bytes(), mounts.as_bytes(), |path| {
            read(&tree.path().join(path.strip_prefix("/").unwrap()))
        })
    }

    #[test]
    fn the_lowest_limit_of_a_group_and_those_above_counts() {
        let group = "0::/a.slice/b.service\n";
        let at = |path: &str, value: &str| (format!("/sys/fs/cgroup{path}"), format!("{value}\n"));
        for (files, expected) in [
            (
                vec![at("/a.slice/b.service/memory.max", "1000")],
                Some(1000),
            ),
            (vec![at("/a.slice/memory.max", "2000")], Some(2000)),
            (
                vec![
                    at("/memory.max", "700"),
                    at("/a.slice/memory.max", "500"),
                    at("/a.slice/b.service/memory.max", "600"),
                    at("/a.slice/b.service/c/memory.max", "1"),
                    at("/other/memory.max", "1"),
                ],
                Some(500),
            ),
            (
                vec![
                    at("/a.slice/b.service/memory.max", "max"),
                    at("/a.slice/b.service/memory.high", "900"),
                ],
                Some(900),
            ),
            (vec![at("/a.slice/memory.max", "max")], None),
            (vec![at("/a.slice/memory.max", "0")], None),
            (vec![at("/a.slice/memory.max", "-1")], None),
            (
                vec![at("/a.slice/memory.max", "99999999999999999999")],
                None,
            ),
            (vec![at("/a.slice/memory.max", "")], None),
            (vec![], None),
        ] {
            let files: Vec<_> = files
                .iter()
                .map(|(path, value)| (&**path, &**value))
                .collect();
            assert_eq!(limit(group, V2, &files), expected, "{files:?}");
        }
    }

    #[test]
    fn the_limit_of_version_1_is_that_of_the_hierarchy_with_memory() {
        let groups = "5:cpu,cpuacct:/other\n4:memory:/a/b:c\n1:name=systemd:/\n0::/\n";
        let files = [
            (
                "/sys/fs/cgroup/memory/a/b:c/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4096000\n"),
            ("/sys/fs/cgroup/memory/other/memory.limit_in_bytes", "1\n"),
            ("/sys/fs/cgroup/cpu/a/memory.limit_in_bytes", "1\n"),
        ];
        assert_eq!(limit(groups, V1, &files), Some(4_096_000));
        assert_eq!(limit(groups, V1, &files[..1]), None);
    }

    #[test]
    fn both_versions_count_in_a_hybrid_hierarchy() {
        let mounts = format!("{V1}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let groups = "4:memory:/a\n0::/b\n";
        let one = ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000");
        let two = ("/sys/fs/cgroup/unified/b/memory.max", "3000");
        assert_eq!(limit(groups, &mounts, &[one, two]), Some(2000));
        assert_eq!(limit(groups, &mounts, &[two]), Some(3000));
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_mount() {
        let mount = "9 8 0:2 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let files = [
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2000"),
            ("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "1000"),
            (
                "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes",
                "1",
            ),
        ];
        assert_eq!(limit("4:memory:/docker/abc\n", mount, &files), Some(2000));
        assert_eq!(
            limit("4:memory:/docker/abc/app\n", mount, &files),
            Some(1000)
        );
        // A group that is not visible there.
        assert_eq!(limit("4:memory:/docker/abcd\n", mount, &files), None);
        // In a namespace of its own.
        let namespace = [("/sys/fs/cgroup/memory.max", "3000")];
        assert_eq!(limit("0::/\n", V2, &namespace), Some(3000));
        assert_eq!(limit("0::/../other\n", V2, &namespace), None);
    }

    #[test]
    fn of_several_mounts_the_one_with_most_groups_counts() {
        let narrow = "9 8 0:2 /a/b /mnt/b rw - cgroup2 cgroup2 rw\n";
        let files = [
            ("/sys/fs/cgroup/a/memory.max", "1000"),
            ("/mnt/b/memory.max", "2000"),
        ];
        for mounts in [format!("{narrow}{V2}"), format!("{V2}{narrow}")] {
            assert_eq!(limit("0::/a/b\n", &mounts, &files), Some(1000));
        }
        assert_eq!(limit("0::/a/b\n", narrow, &files), Some(2000));
    }

    #[test]
    fn mount_points_with_spaces_are_found() {
        let mount = r"9 8 0:2 / /mnt/a\040b\134 rw - cgroup2 none rw";
        let parsed = Mount::parse(mount.as_bytes()).unwrap();
        assert_eq!(parsed.point, Path::new("/mnt/a b\\"));
        assert_eq!(unescaped(br"\08\400\04"), Path::new(r"\08\400\04"));
    }

    #[test]
    fn malformed_lines_are_skipped() {
        for line in [
            "",
            " ",
            "1 2 3 / /mnt",
            "1 2 3 / /mnt rw - cgroup2",
            "- - - - - - -",
        ] {
            assert_eq!(Mount::parse(line.as_bytes()), None, "{line:?}");
        }
        let files = [("/sys/fs/cgroup/memory.max", "5000")];
        let groups = "nonsense\n::\n0:\n\0\n0::/\n";
        let mounts = format!("nonsense\n\u{0}\n{V2}");
        assert_eq!(limit(groups, &mounts, &files), Some(5000));
        assert_eq!(limit("", "", &files), None);
    }
}
