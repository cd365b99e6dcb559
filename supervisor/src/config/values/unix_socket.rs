//! Who may use what is made: permission bits and owners, as chmod, chown and umask take them.

use std::str::FromStr;

use super::{ValueError, refuse};

/// Permission bits in octal digits that begin with 0, as `0660` or `0o660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FromStr for FileMode {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // Without the 0 it could be meant in decimal, as hypercorn reads it. YAML turns an unquoted 0o660 into one, too.
        let bits =
            text.strip_prefix('0').and_then(|digits| match digits.strip_prefix('o').unwrap_or(digits) {
                "" if text == "0" => Some(0),
                digits if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                    u32::from_str_radix(digits, 8).ok()
                }
                _sign_or_letter => None,
            });
        match bits {
            Some(bits) if bits <= 0o777 => Ok(Self(bits)),
            Some(_) | None => refuse(format!(
                "`{text}` is no permission mask: write octal digits that begin with 0, as `0660`, in YAML within quotes"
            )),
        }
    }
}

/// `user`, `user:group` or `:group`, by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// None leaves it.
    pub user: Option<String>,
    /// None leaves it.
    pub group: Option<String>,
}

impl FromStr for Owner {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) if !group.is_empty() && !group.contains(':') => {
                (user, Some(group.to_owned()))
            }
            None if !text.is_empty() => (text, None),
            Some(_) | None => {
                return refuse(format!("`{text}` is no owner: write `user`, `user:group` or `:group`"));
            }
        };
        Ok(Self { user: Some(user.to_owned()).filter(|user| !user.is_empty()), group })
    }
}

#[cfg(test)]
mod tests {
    use super::{FileMode, Owner};

    #[test]
    fn modes_are_octal_and_say_so() {
        for (text, bits) in [("0660", 0o660), ("0o660", 0o660), ("0", 0), ("007", 7), ("00", 0)] {
            assert_eq!(text.parse(), Ok(FileMode(bits)), "{text}");
        }
        // 432 is what YAML makes of 0o660.
        for text in ["", "660", "432", "0668", "0x1b", "01777", "-0", "0o", "0o+7", "o7", "0 "] {
            assert!(text.parse::<FileMode>().is_err(), "{text}");
        }
    }

    #[test]
    fn owners_are_written_as_for_chown() {
        let owner = |text: &str| text.parse::<Owner>().map(|owner| (owner.user, owner.group));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(owner("www"), Ok((some("www"), None)));
        assert_eq!(owner("www:web"), Ok((some("www"), some("web"))));
        assert_eq!(owner(":33"), Ok((None, some("33"))));
        for text in ["", ":", "www:", "a:b:c"] {
            assert!(owner(text).is_err(), "{text}");
        }
    }
}
