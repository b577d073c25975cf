//! Which flags of which clients take a credential: `-p` is a password for mysql and a port for ssh.

/// What a flag or subcommand of a client takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// A secret: the next argument, or attached to a one-letter flag.
    Secret,
    /// A secret if it is attached (`-pX`); the next argument only if it looks like one.
    Attached,
    /// `user:secret`, `user%secret`, `user,secret`, `name=secret`.
    Pair(u8),
    /// A secret after that many other arguments.
    After(usize),
}

impl Takes {
    /// Whether it is the next argument.
    pub(super) fn is_next(self) -> bool {
        matches!(self, Self::Secret | Self::After(0))
    }
}

use Takes::{After, Attached, Pair, Secret};

/// A program, or several that take the same flags.
pub(super) struct Client {
    names: &'static [&'static str],
    /// The flags have this meaning only after one of these words; empty: always.
    pub(super) needs: &'static [&'static str],
    /// Flags, and words in the place of a subcommand.
    pub(super) flags: &'static [(&'static str, Takes)],
}

#[rustfmt::skip]
const CLIENTS: &[Client] = &[
    Client { needs: &[], flags: &[("-p", Attached)], names: &[
        "mysql", "mysqladmin", "mysqlcheck", "mysqldump", "mysqlimport", "mysqlpump", "mysqlsh", "mysqlshow", "mysqlslap", "mycli", "mariadb",
        "mariadb-admin", "mariadb-check", "mariadb-dump", "mariadb-backup", "mariabackup", "xtrabackup", "innobackupex", "mysqlbinlog", "mysql_upgrade"] },
    Client { needs: &[], flags: &[("-a", Secret), ("AUTH", Secret), ("auth", Secret)],
        names: &["redis-cli", "redis-benchmark", "valkey-cli", "valkey-benchmark", "keydb-cli", "dragonfly-cli"] },
    Client { needs: &[], flags: &[("-p", Secret)], names: &[
        "sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport", "mongostat", "mongotop", "cqlsh", "cypher-shell", "beeline",
        "rabbitmqadmin", "couchbase-cli", "cbq", "cbbackupmgr", "cbexport", "cbimport", "jmxterm", "kcadm.sh", "kcadm", "7z", "7za", "7zr", "7zz", "rar",
        "unrar", "elasticsearch-users", "hdbsql", "vsql", "nzsql", "dbaccess", "iredis", "ceph-dash", "cloudbeaver", "ncftpput"] },
    Client { needs: &[], flags: &[("-P", Secret)], names: &["sqlcmd", "bcp", "osql", "tsql", "mssql-cli", "isql", "zip", "unzip", "zipcloak", "ipmitool", "mosquitto_pub", "mosquitto_sub", "mosquitto_rr"] },
    Client { needs: &[], flags: &[("-w", Secret), ("-s", Secret), ("-a", Secret)], names: &["ldappasswd", "slappasswd"] },
    Client { needs: &[], flags: &[("-w", Secret)], names: &[
        "ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami", "ldapcompare", "ldapmodrdn", "ldapexop", "kadmin", "dsconf", "impala-shell"] },
    Client { needs: &["login", "account", "service-principal", "--service-principal"], flags: &[("-p", Secret)], names: &["docker", "podman", "nerdctl", "buildah", "helm", "oras", "crane", "regctl", "oc", "az", "skopeo", "cf", "ibmcloud", "img"] },
    Client { needs: &[], flags: &[("-u", Pair(b':')), ("--user", Pair(b':')), ("-U", Pair(b':')), ("--proxy-user", Pair(b':')), ("-E", Pair(b':')), ("--cert", Pair(b':')), ("-b", Pair(b'='))], names: &["curl", "curlie"] },
    Client { needs: &[], flags: &[("-a", Pair(b':')), ("-A", Pair(b':')), ("--auth", Pair(b':'))], names: &["http", "https", "xh", "hey", "ab", "httpie", "siege", "bombardier"] },
    Client { needs: &[], flags: &[("--user", Pair(b':')), ("-u", Pair(b':'))], names: &["etcdctl", "cadaver", "eksctl", "wrk"] },
    Client { needs: &[], flags: &[("-pw", Secret)], names: &["nodetool", "plink", "pscp", "psftp"] },
    Client { needs: &[], flags: &[("-t", Secret), ("-p", Secret)], names: &["influx"] },
    Client { needs: &[], flags: &[("-t", Secret)], names: &["doctl", "consul-template"] },
    Client { needs: &[], flags: &[("add_user", After(1)), ("change_password", After(1)), ("authenticate_user", After(1))], names: &["rabbitmqctl", "rabbitmq-diagnostics"] },
    Client { needs: &[], flags: &[("-U", Pair(b'%')), ("--user", Pair(b'%')), ("-a", Pair(b'%')), ("--authenticate", Pair(b'%'))], names: &["smbclient", "rpcclient", "smbget", "smbmap", "wbinfo", "winexe", "net"] },
    Client { needs: &[], flags: &[("username", Pair(b'%')), ("user", Pair(b'%'))], names: &["cifs", "smb3", "mount.cifs"] },
    Client { needs: &[], flags: &[("--key", Secret), ("secret", Attached)], names: &["ceph", "rbd", "rados", "rbd-nbd", "ceph-fuse", "mount.ceph", "radosgw-admin", "cephfs"] },
    Client { needs: &[], flags: &[("login", After(0)), ("unseal", After(0)), ("-token", Secret)], names: &["vault", "bao"] },
    Client { needs: &[], flags: &[("--from-literal", Pair(b'=')), ("-p", Attached)], names: &["kubectl", "kustomize"] },
    Client { needs: &[], flags: &[("set", After(3)), ("add", After(3))], names: &["mc", "mcli"] },
    Client { needs: &[], flags: &[("-nb", After(1)), ("-nbB", After(1)), ("-Bbn", After(1)), ("-bn", After(1)), ("-nbm", After(1)), ("-b", After(2)), ("-bc", After(2)), ("-cb", After(2)), ("-bB", After(2)), ("-Bbc", After(2))], names: &["htpasswd"] },
    Client { needs: &[], flags: &[("-passin", Pair(b':')), ("-passout", Pair(b':')), ("-pass", Pair(b':')), ("-k", Secret), ("-K", Secret), ("-hmac", Secret)], names: &["openssl"] },
    Client { needs: &[], flags: &[("-A", Secret), ("-X", Secret), ("-c", Secret)], names: &["snmpget", "snmpwalk", "snmpset", "snmpbulkwalk", "snmptrap"] },
    Client { needs: &[], flags: &[("-u", Pair(b','))], names: &["lftp", "ncftp", "ncftpget"] },
    Client { needs: &[], flags: &[("sqlplus", Pair(b'/')), ("target", Pair(b'/')), ("expdp", Pair(b'/')), ("impdp", Pair(b'/')), ("-L", Pair(b'/')), ("-S", Pair(b'/')), ("-s", Pair(b'/')), ("exp", Pair(b'/')), ("sqlldr", Pair(b'/'))], names: &["sqlplus", "rman", "expdp", "impdp", "sqlldr", "sqlcl"] },
    Client { needs: &[], flags: &[("-y", Pair(b':'))], names: &["dig", "nsupdate"] },
    Client { needs: &[], flags: &[("digest", Pair(b':'))], names: &["addauth"] },
    Client { needs: &[], flags: &[("using", Secret)], names: &["db2"] },
    Client { needs: &[], flags: &[("radtest", After(1))], names: &["radtest"] },
];

const NAMES: usize = {
    let (mut at, mut names) = (0, 0);
    while at < CLIENTS.len() {
        names += CLIENTS[at].names.len();
        at += 1;
    }
    names
};

/// No name is longer.
const NAME_BYTES_MAX: usize = 20;

/// Clients by the first byte of their names.
struct Index {
    names: [(&'static str, u8); NAMES],
    of_first: [(u8, u8); 256],
    /// A bit for each length of the names that begin with this byte.
    lengths: [u32; 256],
}

static INDEX: Index = {
    let mut names = [("", 0); NAMES];
    let (mut ranges, mut lengths) = ([(0, 0); 256], [0; 256]);
    let (mut filled, mut first) = (0, 0);
    while first < 256 {
        ranges[first].0 = filled as u8;
        let mut at = 0;
        while at < CLIENTS.len() {
            let mut one = 0;
            while one < CLIENTS[at].names.len() {
                let name = CLIENTS[at].names[one];
                if name.as_bytes()[0] as usize == first {
                    names[filled] = (name, at as u8);
                    lengths[first] |= 1 << name.len();
                    filled += 1;
                }
                one += 1;
            }
            at += 1;
        }
        ranges[first].1 = filled as u8;
        first += 1;
    }
    Index {
        names,
        of_first: ranges,
        lengths,
    }
};

/// The client of this name.
pub(super) fn client(word: &str) -> Option<&'static Client> {
    let first = *word.as_bytes().first()?;
    if word.len() > NAME_BYTES_MAX || INDEX.lengths[usize::from(first)] >> word.len() & 1 == 0 {
        return None;
    }
    let (from, to) = INDEX.of_first[usize::from(first)];
    let of_first = &INDEX.names[usize::from(from)..usize::from(to)];
    let (_, at) = of_first.iter().find(|(name, _)| *name == word)?;
    CLIENTS.get(usize::from(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_found_by_every_name() {
        const { assert!(NAMES < 256) };
        for one in CLIENTS {
            for name in one.names {
                assert!(name.len() <= NAME_BYTES_MAX);
                let found = client(name).expect("it is in the table");
                assert_eq!(found.flags.len(), one.flags.len(), "{name} is there twice");
            }
        }
        assert!(client("ssh").is_none() && client("").is_none());
    }
}
