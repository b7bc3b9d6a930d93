/*  curl_loader - libcurl, loaded when it is first needed

    libcurl brings some twenty libraries along. The same program runs the nodes,
    which never need it; loaded on demand it costs them neither memory nor time at
    the start. These are libcurl's own functions by name, as far as the client
    uses them; each passes its call on.
*/
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/*  The headers' macros check types; here the functions themselves are defined. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

static void *library;

static void load (void)
{
    static const char *const names[] = {"libcurl-gnutls.so.4", "libcurl.so.4"};
    for (size_t i = 0; !library && i < sizeof (names) / sizeof (names[0]); i++)
        library = dlopen (names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf (stderr, "nexus: libcurl is not installed: apt-get install libcurl3-gnutls\n");
        exit (69);
    }
}

static void *find (const char *name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once (&once, load);
    void *function = dlsym (library, name);
    if (!function) {
        fprintf (stderr, "nexus: libcurl lacks %s: it is too old\n", name);
        exit (69);
    }
    return function;
}

/*  POSIX guarantees that dlsym's result can be called; ISO C has no cast for it. */
#define CALL(function) ((__typeof__ (function) *)find (#function))

CURLcode curl_global_init (long flags)
{
    return CALL (curl_global_init) (flags);
}

void curl_global_cleanup (void)
{
    CALL (curl_global_cleanup) ();
}

CURL *curl_easy_init (void)
{
    return CALL (curl_easy_init) ();
}

void curl_easy_cleanup (CURL *curl)
{
    CALL (curl_easy_cleanup) (curl);
}

void curl_easy_reset (CURL *curl)
{
    CALL (curl_easy_reset) (curl);
}

CURLcode curl_easy_perform (CURL *curl)
{
    return CALL (curl_easy_perform) (curl);
}

const char *curl_easy_strerror (CURLcode code)
{
    return CALL (curl_easy_strerror) (code);
}

/*  An option's number says what type its one argument has. */
CURLcode curl_easy_setopt (CURL *curl, CURLoption option, ...)
{
    __typeof__ (curl_easy_setopt) *real = CALL (curl_easy_setopt);
    CURLcode code;
    va_list arguments;
    va_start (arguments, option);
    if (option >= CURLOPTTYPE_BLOB ||
        (option >= CURLOPTTYPE_OBJECTPOINT && option < CURLOPTTYPE_OFF_T))
        code = real (curl, option, va_arg (arguments, void *));
    else if (option >= CURLOPTTYPE_OFF_T)
        code = real (curl, option, va_arg (arguments, curl_off_t));
    else
        code = real (curl, option, va_arg (arguments, long));
    va_end (arguments);
    return code;
}

CURLcode curl_easy_getinfo (CURL *curl, CURLINFO info, ...)
{
    va_list arguments;
    va_start (arguments, info);
    CURLcode code = CALL (curl_easy_getinfo) (curl, info, va_arg (arguments, void *));
    va_end (arguments);
    return code;
}

struct curl_slist *curl_slist_append (struct curl_slist *list, const char *text)
{
    return CALL (curl_slist_append) (list, text);
}

void curl_slist_free_all (struct curl_slist *list)
{
    CALL (curl_slist_free_all) (list);
}
