/* Throw-away certificates, made while the test runs. */
#ifndef DYN_TEST_CERTS_H
#define DYN_TEST_CERTS_H

/* An authority: folder/name.pem and folder/name.key. */
void certs_authority(const char *folder, const char *name);
/* A certificate signed by an authority of the folder: folder/name.pem and
 * folder/name.key.
 *   names   whom it names: "IP:127.0.0.1,DNS:localhost"; NULL: nobody
 *   days    it is valid from now on; negative: it ended that long ago */
void certs_issue(const char *folder, const char *authority, const char *name,
    const char *names, int days);
/* folder/name.key again, now with a pass phrase. */
void certs_lock_key(const char *folder, const char *name);

#endif
