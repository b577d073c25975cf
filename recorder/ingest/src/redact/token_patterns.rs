//! Tokens that are recognized by their own format: a table of prefixes, alphabets and lengths.
//!
//! The facts (prefix, alphabet, length) are those of the issuers, as gitleaks, trufflehog, detect-secrets and GitHub's
//! secret scanning list them. A new one is a row here and a line in `tests/data/secret-forms.txt`.

use super::char_class::{
    is_alnum, is_base64, is_capital, is_crypt, is_hex, is_key, is_wide, is_word,
};
use super::value_shape::{is_commit, is_random};

/// A token that was recognized.
pub(super) struct Token {
    /// Where it ends.
    pub(super) end: usize,
    /// It is the id of an AWS key: the key itself is likely near, and has no recognizable format.
    pub(super) aws: bool,
}

/// Format of a token.
struct TokenForm {
    prefix: &'static str,
    /// What may follow the prefix; all of it is redacted, so that no part of a longer token remains.
    alphabet: fn(u8) -> bool,
    /// Fewest characters after the prefix.
    min: usize,
    /// The prefix is unambiguous: it counts within a word too, and in a truncated text.
    sure: bool,
}

/// An unambiguous prefix.
const fn sure(prefix: &'static str, alphabet: fn(u8) -> bool, min: usize) -> TokenForm {
    TokenForm {
        prefix,
        alphabet,
        min,
        sure: true,
    }
}

/// A prefix that words have too: it must begin a word, and random text must follow.
const fn weak(prefix: &'static str, alphabet: fn(u8) -> bool, min: usize) -> TokenForm {
    TokenForm {
        prefix,
        alphabet,
        min,
        sure: false,
    }
}

/// Sorted by the first byte; the first match wins.
#[rustfmt::skip]
const FORMS: &[TokenForm] = &[
    // Hashes of passwords.
    sure("$1$", is_crypt, 20), sure("$2a$", is_crypt, 20), sure("$2b$", is_crypt, 20), sure("$2x$", is_crypt, 20),
    sure("$2y$", is_crypt, 20), sure("$5$", is_crypt, 20), sure("$6$", is_crypt, 20), sure("$7$", is_crypt, 20),
    sure("$apr1$", is_crypt, 12), sure("$argon2", is_crypt, 20), sure("$gy$", is_crypt, 20), sure("$pbkdf2", is_crypt, 20),
    sure("$scrypt$", is_crypt, 20), sure("$y$", is_crypt, 20),
    // Jenkins; Google's refresh token.
    weak("11", is_hex, 32), weak("1//0", is_word, 20),
    // ClickHouse Cloud.
    weak("4b1d", is_alnum, 38),
    // 1Password's account key; AWS: key ids, Bedrock, metadata credentials.
    weak("A3-", is_word, 26), sure("A3T", is_capital, 17), sure("ABIA", is_capital, 16), sure("ABSK", is_base64, 60),
    sure("ACCA", is_capital, 16), sure("AGE-SECRET-KEY-", is_word, 6), sure("AIza", is_word, 16), sure("AKCp", is_alnum, 20),
    weak("AKID", is_alnum, 13), sure("AKIA", is_capital, 12), weak("API-", is_capital, 20), weak("AQ", is_base64, 36), sure("AQVN", is_word, 30),
    sure("ASIA", is_capital, 12), sure("ATATT3", is_wide, 20), weak("ATBB", is_alnum, 24), sure("ATCTT3", is_wide, 20),
    sure("AVNS_", is_word, 12),
    sure("CCIPAT_", is_word, 20), sure("CFPAT-", is_word, 20), sure("CLOJARS_", is_alnum, 20), 
    weak("EAAA", is_word, 22), weak("EAA", is_alnum, 60), sure("EZAK", is_alnum, 30), sure("EZTK", is_alnum, 30),
    sure("FLWSECK", is_word, 12), sure("FlyV1 fm", is_wide, 20),
    sure("GOCSPX-", is_word, 10), sure("GR1348941", is_word, 10),
    sure("HRKU-", is_word, 20),
    sure("K10", k3s, 64),
    sure("LS0tLS1CRUdJTi", is_base64, 4), sure("LTAI", is_alnum, 12),
    // Bodies of private keys without their PEM marks: PKCS #8, PKCS #1, EC, Ed25519.
    sure("MC4CAQAwBQYDK2Vw", is_base64, 16), sure("MHcCAQEEI", is_base64, 16), sure("MIGHAgEA", is_base64, 16),
    sure("MIIBVQIBADANBg", is_base64, 16), sure("MIICdgIBADANBg", is_base64, 16), sure("MIICdwIBADANBg", is_base64, 16),
    sure("MIICXAIBAA", is_base64, 16), sure("MIICXQIBAA", is_base64, 16), sure("MIIEowIBAA", is_base64, 16),
    sure("MIIEpAIBAA", is_base64, 16), sure("MIIEpQIBAA", is_base64, 16), sure("MIIEvAIBADANBg", is_base64, 16),
    sure("MIIEvQIBADANBg", is_base64, 16), sure("MIIEvgIBADANBg", is_base64, 16), sure("MIIJKAIBAA", is_base64, 16),
    sure("MIIJKQIBAA", is_base64, 16), sure("MIIJQgIBADANBg", is_base64, 16), sure("MIIJQwIBADANBg", is_base64, 16),
    sure("NRAK-", is_alnum, 12), sure("NRII-", is_word, 12), sure("NRIQ-", is_word, 12), sure("NRJS-", is_hex, 12),
    sure("NRRA-", is_hex, 12), sure("NRSP-", is_word, 12),
    sure("PMAK-", is_word, 16),
    sure("SCRAM-SHA-256$", is_crypt, 20), sure("SCRAM-SHA-512$", is_crypt, 20), sure("SG.", is_wide, 20), weak("SK", is_hex, 32),
    weak("YC", is_word, 38),
    // base64 of `eyJ`, which begins a JSON web token.
    sure("ZXlK", is_base64, 16),
    // Airtable's personal token has its own shape, below; Algolia's and Azure's have none.
    sure("api_org_", is_alnum, 30),
    sure("b3BlbnNzaC1rZXkt", is_base64, 8), sure("bedrock-api-key-", is_base64, 20), weak("bkua_", is_hex, 20),
    weak("cio", is_alnum, 32), sure("cmVmd", is_alnum, 40),
    weak("dapi", is_hex, 32), sure("dckr_oat_", is_word, 12), sure("dckr_pat_", is_word, 12), sure("doo_v1_", is_alnum, 6),
    sure("dop_v1_", is_alnum, 6), sure("dor_v1_", is_alnum, 6), sure("dp.audit.", is_wide, 20), sure("dp.ct.", is_wide, 20),
    sure("dp.pt.", is_wide, 20), sure("dp.sa.", is_wide, 20), sure("dp.scim.", is_wide, 20), sure("dp.st.", is_wide, 20),
    sure("dt0c01.", is_wide, 20), sure("dt0s01.", is_wide, 20), sure("dt0s02.", is_wide, 20), sure("duffel_live_", is_wide, 20),
    sure("duffel_test_", is_wide, 20),
    sure("eyJ", is_wide, 10),
    sure("figd_", is_word, 16), sure("figo", is_word, 36), sure("fio-u-", is_wide, 20), sure("fm1a_", is_base64, 30), sure("fm1r_", is_base64, 30),
    sure("fm2_", is_base64, 30), sure("fo1_", is_word, 20),
    sure("gho_", is_word, 6), sure("ghp_", is_word, 6), sure("ghr_", is_word, 6), sure("ghs_", is_word, 6), sure("ghu_", is_word, 6),
    sure("github_pat_", is_word, 6), sure("glagent-", is_wide, 6), sure("glc_", is_base64, 20), sure("glcbt-", is_wide, 6),
    sure("gldt-", is_wide, 6), sure("glffct-", is_wide, 6), sure("glft-", is_wide, 6), sure("glimt-", is_wide, 6),
    sure("gloas-", is_wide, 6), sure("glpat-", is_wide, 6), sure("glptt-", is_wide, 6), sure("glrt-", is_wide, 6), sure("glrtr-", is_wide, 6),
    sure("glsa_", is_word, 20), sure("glsoat-", is_wide, 6), sure("glwt-", is_wide, 6), weak("gsk_", is_alnum, 20),
    sure("hf_", is_alnum, 20), sure("hvb.", is_wide, 16), sure("hvr.", is_wide, 16), sure("hvs.", is_wide, 16),
    weak("ico-", is_alnum, 32),
    weak("key-", is_hex, 32),
    sure("lin_api_", is_alnum, 16), sure("lin_oauth_", is_alnum, 16), weak("live_", is_hex, 35), sure("lsv2_pt_", is_word, 16), sure("lsv2_sk_", is_word, 16),
    weak("md5", is_hex, 32),
    sure("nfp_", is_alnum, 20), sure("npm_", is_word, 20), sure("ntn_", is_alnum, 20), sure("nvapi-", is_word, 20),
    sure("ops_eyJ", is_base64, 20), weak("oy2", is_alnum, 43),
    sure("p8e-", is_alnum, 20), weak("pat", airtable, 60), sure("pat.", is_wide, 40), sure("pbkdf2_sha", is_crypt, 20), sure("pnu_", is_alnum, 20),
    sure("pplx-", is_alnum, 20), sure("pscale_oauth_", is_wide, 12), sure("pscale_pw_", is_wide, 12), sure("pscale_tkn_", is_wide, 12),
    weak("pul-", is_hex, 40), sure("pypi-A", is_word, 16),
    weak("r8_", is_word, 20), sure("rdme_", is_alnum, 20), weak("re_", is_word, 24), sure("rk_live_", is_word, 6), sure("rk_prod_", is_word, 6),
    sure("rk_test_", is_word, 6), weak("rnd_", is_alnum, 20), sure("rubygems_", is_hex, 12),
    weak("s-s4t2", is_word, 40), weak("s.", is_alnum, 24), sure("sat.", is_wide, 40), sure("sbp_", is_alnum, 20), sure("sdk-", launchdarkly, 36),
    sure("secret_", is_alnum, 40), sure("sgp_", is_word, 20), sure("sha256~", is_word, 16), sure("shippo_live_", is_hex, 12),
    sure("shippo_test_", is_hex, 12), sure("shpat_", is_alnum, 20), sure("shpca_", is_alnum, 20), sure("shppa_", is_alnum, 20),
    sure("shpss_", is_alnum, 20), sure("sk-ant-", is_word, 6), sure("sk-or-v1-", is_alnum, 12), sure("sk-proj-", is_word, 6),
    sure("sk-svcacct-", is_word, 6), sure("sk-admin-", is_word, 12), weak("sk-", is_word, 20), sure("sk_live_", is_word, 6), sure("sk_prod_", is_word, 6),
    sure("sk_test_", is_word, 6), weak("sl.", is_word, 60), sure("sm_aat_", is_alnum, 12), sure("sm_pat_", is_alnum, 12), sure("sm_sat_", is_alnum, 12),
    sure("sntrys_", is_wide, 20), sure("sntryu_", is_hex, 12), sure("sq0atp-", is_word, 16), sure("sq0csp-", is_word, 16), weak("sqa_", is_alnum, 30),
    weak("sqp_", is_alnum, 30), weak("squ_", is_alnum, 30),
    weak("t1.", is_wide, 60), weak("test_", is_hex, 35), weak("tfp_", is_wide, 40), weak("tk-us-", is_word, 40), sure("tskey-", is_word, 12),
    sure("v1.0-", cloudflare, 100), sure("vca_", is_alnum, 24), sure("vcp_", is_alnum, 24),
    sure("whsec_", is_base64, 6),
    weak("xai-", is_alnum, 40), sure("xapp-", is_word, 6), sure("xkeysib-", is_word, 20), sure("xoxa-", is_word, 6), sure("xoxb-", is_word, 6),
    sure("xoxc-", is_word, 6), sure("xoxd-", is_wide, 6), sure("xoxe-", is_word, 6), sure("xoxe.xox", is_word, 6), sure("xoxo-", is_word, 6), sure("xoxp-", is_word, 6),
    sure("xoxr-", is_word, 6), sure("xoxs-", is_word, 6), sure("xsmtpsib-", is_word, 20),
    sure("ya29.", is_wide, 16),
    // LDAP's and htpasswd's hashes.
    sure("{SHA}", is_base64, 20), sure("{SSHA}", is_base64, 20), sure("{SSHA256}", is_base64, 20), sure("{SSHA512}", is_base64, 20),
];

/// What follows a weak prefix.
fn looks_issued(text: &str) -> bool {
    const CAPITALS_MIN: usize = 26;
    is_random(text) || text.len() >= CAPITALS_MIN && text.bytes().all(is_capital)
}

fn k3s(byte: u8) -> bool {
    is_word(byte) || byte == b':'
}

fn launchdarkly(byte: u8) -> bool {
    is_hex(byte) || byte == b'-'
}

fn cloudflare(byte: u8) -> bool {
    is_hex(byte) || byte == b'-'
}

fn airtable(byte: u8) -> bool {
    is_alnum(byte) || byte == b'.'
}

const fn first_two(form: &TokenForm) -> (u8, u8) {
    let prefix = form.prefix.as_bytes();
    (prefix[0], prefix[1])
}

/// A bit for every two bytes that begin a prefix: rejects most bytes of most texts early.
const PAIRS: [u64; 1024] = {
    let mut pairs = [0; 1024];
    let mut at = 0;
    while at < FORMS.len() {
        let (first, second) = first_two(&FORMS[at]);
        let pair = (first as usize) << 8 | second as usize;
        pairs[pair / 64] |= 1 << (pair % 64);
        at += 1;
    }
    let pair = (b'-' as usize) << 8 | b'-' as usize;
    pairs[pair / 64] |= 1 << (pair % 64);
    pairs
};

/// The beginning of a PEM block.
const PEM: &str = "-----BEGIN";

/// A bit for every three bytes that begin a prefix, by the low five bits of each: rejects most of what is left. The first
/// is for prefixes that count within a word, the second for all.
static TRIPLES: [[u64; 512]; 2] = {
    let mut triples = [[0; 512]; 2];
    let mut at = 0;
    while at < FORMS.len() {
        let prefix = FORMS[at].prefix.as_bytes();
        let mut third = 0;
        while third < 32 {
            // Any byte may follow a prefix of two.
            if prefix.len() == 2 || prefix[2] & 31 == third {
                let triple = triple([prefix[0], prefix[1], third]);
                triples[1][triple / 64] |= 1 << (triple % 64);
                if FORMS[at].sure {
                    triples[0][triple / 64] |= 1 << (triple % 64);
                }
            }
            third += 1;
        }
        at += 1;
    }
    let triple = triple(*b"---");
    triples[0][triple / 64] |= 1 << (triple % 64);
    triples[1][triple / 64] |= 1 << (triple % 64);
    triples
};

const fn triple([first, second, third]: [u8; 3]) -> usize {
    (first as usize & 31) << 10 | (second as usize & 31) << 5 | third as usize & 31
}

/// The first form of each first byte, and one behind its last.
const OF_FIRST: [(u16, u16); 256] = {
    let mut of_first = [(0, 0); 256];
    let mut at = 0;
    while at < FORMS.len() {
        let first = first_two(&FORMS[at]).0 as usize;
        if of_first[first].1 == 0 {
            of_first[first].0 = at as u16;
        }
        of_first[first].1 = at as u16 + 1;
        at += 1;
    }
    of_first
};

/// Whether two bytes can begin a token at all.
#[inline]
pub(super) fn may_begin([first, second]: [u8; 2]) -> bool {
    let pair = (first as usize) << 8 | second as usize;
    PAIRS[pair / 64] >> (pair % 64) & 1 != 0
}

/// The token that begins at `at`.
pub(super) fn token(text: &str, at: usize) -> Option<Token> {
    let bytes = text.as_bytes();
    let rest = &bytes[at..];
    let boundary = at == 0 || !is_key(bytes[at - 1]);
    // A prefix of two bytes at the end of the text is not a token.
    let triple = triple(*rest.first_chunk()?);
    if TRIPLES[usize::from(boundary)][triple / 64] >> (triple % 64) & 1 == 0 {
        return None;
    }
    if rest.starts_with(PEM.as_bytes()) {
        return end_of_pem(text, at).map(|end| Token { end, aws: false });
    }
    let (from, to) = OF_FIRST[rest[0] as usize];
    let forms = &FORMS[usize::from(from)..usize::from(to)];
    // A weak pattern must begin a word, so that each word is examined once.
    let fitting = forms
        .iter()
        .filter(|form| (form.sure || boundary) && rest.starts_with(form.prefix.as_bytes()));
    for form in fitting {
        let behind = &rest[form.prefix.len()..];
        let follow = behind.iter().take_while(|b| (form.alphabet)(**b)).count();
        let end = form.prefix.len() + follow;
        let fits = if form.sure {
            // At the end of the text it may be truncated.
            let broken_off = follow > 0 && end == rest.len();
            follow >= form.min || broken_off
        } else {
            let closed = |b: &u8| !is_key(*b) || *b == b'.';
            follow >= form.min
                && rest.get(end).is_none_or(closed)
                && looks_issued(&text[at + form.prefix.len()..at + end])
                && !is_commit(&text[at..at + end])
        };
        if fits {
            let aws = rest[0] == b'A' && rest[2..].starts_with(b"IA");
            return Some(Token { end: at + end, aws });
        }
    }
    None
}

/// A secret of Azure AD around its `Q~`, which stands at `at`: three characters and a digit before, 31 to 34 behind.
pub(super) fn azure_secret(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    /// 34 are the most; a longer run is something else.
    const FOLLOW_MAX: usize = 64;
    let is_part = |b: &u8| is_word(*b) || matches!(b, b'~' | b'.');
    let from = at.checked_sub(4)?;
    let before = &bytes[from..at];
    if !before[3].is_ascii_digit() || !before.iter().all(is_part) {
        return None;
    }
    let behind = bytes[at + 2..].iter().take(FOLLOW_MAX);
    let follow = behind.take_while(|b| is_part(b)).count();
    (30..FOLLOW_MAX)
        .contains(&follow)
        .then_some((from, at + 2 + follow))
}

/// A word that is a token by its shape alone.
#[inline]
pub(super) fn is_token_word(word: &str) -> bool {
    const BYTES_MIN: usize = 23;
    word.len() >= BYTES_MIN && is_long_token_word(word)
}

fn is_long_token_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    match bytes.len() {
        // kubeadm's bootstrap token, `abcdef.0123456789abcdef`.
        23 => {
            bytes[6] == b'.'
                && [&word[..6], &word[7..]].iter().all(|part| {
                    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
                    part.bytes().all(lower) && part.bytes().any(|b| b.is_ascii_digit())
                })
                && is_random(&word[7..])
        }
        // Discord's for bots: an id, a time, a signature.
        58..=74 if word.bytes().filter(|b| *b == b'.').count() == 2 => {
            let mut parts = word.split('.').map(|part| (part.len(), is_random(part)));
            matches!(
                (parts.next(), parts.next(), parts.next()),
                (Some((23..=28, true)), Some((6, _)), Some((27.., true)))
            )
        }
        // Mailchimp's, `<32 hex>-us12`.
        36 | 37 => {
            bytes[..32].iter().all(|b| is_hex(*b))
                && bytes[32..].starts_with(b"-us")
                && bytes[35..].iter().all(u8::is_ascii_digit)
        }
        // Terraform's, `<14>.atlasv1.<60 and more>`.
        70.. => bytes[..64].windows(9).any(|part| part == b".atlasv1."),
        _ => false,
    }
}

/// End of the PEM block that begins at `at`; the end of the text if it is truncated. `None` if it is not secret: a
/// certificate, a public key, or a mere mention of the marker.
fn end_of_pem(text: &str, at: usize) -> Option<usize> {
    const END: &str = "-----END";
    /// The label is within so many bytes, and so are the headers before the base64.
    const LABEL_BYTES_MAX: usize = 64;
    const HEADERS_BYTES_MAX: usize = 256;
    /// So much base64 in a row is a body.
    const BODY_BYTES: usize = 16;

    let after = text.as_bytes().get(at + PEM.len()..)?;
    let label = &after[..after.len().min(LABEL_BYTES_MAX)];
    let Some(label_end) = label.windows(5).position(|part| part == b"-----") else {
        // Truncated in its label.
        return (after.len() < LABEL_BYTES_MAX
            && label.iter().all(|b| is_capital(*b) || *b == b' '))
        .then_some(text.len());
    };
    let label = &label[..label_end];
    let public = [&b"CERTIFICATE"[..], b"PUBLIC", b"PARAMETERS", b"CRL"];
    if public
        .iter()
        .any(|word| label.windows(word.len()).any(|part| part == *word))
    {
        return None;
    }
    let body = &after[label_end + 5..];
    let near = &body[..body.len().min(HEADERS_BYTES_MAX)];
    let mut run = 0;
    let has_body = near.iter().any(|b| {
        run = if is_base64(*b) { run + 1 } else { 0 };
        run == BODY_BYTES
    }) || near.windows(END.len()).any(|part| part == END.as_bytes());
    // Truncated: the rest of the text is the block.
    if !has_body
        && (body.len() >= HEADERS_BYTES_MAX || body.iter().filter(|b| **b == b' ').count() > 2)
    {
        return None;
    }
    let from = text.len() - body.len();
    let Some(step) = text[from..].find(END) else {
        return Some(text.len());
    };
    let label = &text[from + step + END.len()..];
    // The label and its dashes; other text is kept.
    let after_label = label.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == ' ');
    Some(text.len() - after_label.trim_start_matches('-').len())
}

/// Whether base64 text encodes `user:password`, or the beginning of a user if the text is truncated.
pub(super) fn decodes_to_pair(token: &str, broken_off: bool) -> bool {
    let (mut bits, mut count) = (0_u32, 0);
    for byte in token.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            match (bits >> count) as u8 {
                b':' => return true,
                b' '..=b'~' => {}
                _ => return false,
            }
        }
    }
    broken_off
}

/// AWS secret keys have no prefix: 40 characters of base64 beside a key id, or fewer if the text is truncated.
pub(super) fn aws_secrets(text: &str) -> Vec<(usize, usize)> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let bytes = text.as_bytes();
    let (mut found, mut from) = (Vec::new(), 0);
    while from < bytes.len() {
        if !is_part(bytes[from]) {
            from += 1;
            continue;
        }
        let length = bytes[from..].iter().take_while(|b| is_part(**b)).count();
        let ends_text = from + length == bytes.len();
        if length == 40 || (ends_text && (6..40).contains(&length)) {
            found.push((from, from + length));
        }
        from += length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_forms_are_sorted_by_first_byte() {
        let firsts = FORMS.iter().map(|form| form.prefix.as_bytes()[0]);
        assert!(firsts.is_sorted());
    }

    #[test]
    fn token_forms_do_not_shadow_each_other() {
        for (at, form) in FORMS.iter().enumerate() {
            let before = &FORMS[..at];
            let hidden = |one: &&TokenForm| {
                one.sure && form.prefix.starts_with(one.prefix) && one.min <= form.min
            };
            if let Some(one) = before.iter().find(hidden) {
                panic!(
                    "{} never counts, since {} comes before it",
                    form.prefix, one.prefix
                );
            }
        }
    }

    #[test]
    fn every_prefix_may_begin_a_token() {
        for form in FORMS {
            let first = *form.prefix.as_bytes().first_chunk().expect("two bytes");
            assert!(may_begin(first), "{}", form.prefix);
            for third in 0..=u8::MAX {
                let third = form.prefix.as_bytes().get(2).copied().unwrap_or(third);
                let triple = triple([first[0], first[1], third]);
                let is_set = |of: &[u64; 512]| of[triple / 64] >> (triple % 64) & 1 != 0;
                assert!(is_set(&TRIPLES[1]), "{}", form.prefix);
                assert!(!form.sure || is_set(&TRIPLES[0]), "{}", form.prefix);
            }
        }
    }
}
