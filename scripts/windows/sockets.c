/* For Wine 8. It has no IP_RECVECN and no IPV6_RECVECN: these two options, which QUIC sockets want, succeed here without
 * effect, so that no packet arrives with congestion marks. And it has no answer about IPV6_V6ONLY for an IPv4 socket: the
 * answer here is 0. Linked into the programs that run under Wine, and into no other: it takes the place of the imports of
 * setsockopt and getsockopt. */

#include <string.h>
#include <winsock2.h>
#include <ws2tcpip.h>

#define RECEIVE_ECN 50 /* IP_RECVECN and IPV6_RECVECN, ws2ipdef.h of the Windows SDK */

typedef int(WSAAPI *set_option)(SOCKET, int, int, const char *, int);
typedef int(WSAAPI *get_option)(SOCKET, int, int, char *, int *);

static FARPROC real(const char *name)
{
    return GetProcAddress(GetModuleHandleA("ws2_32.dll"), name);
}

static int WSAAPI set_known_option(SOCKET socket, int level, int name, const char *value, int length)
{
    if ((level == IPPROTO_IP || level == IPPROTO_IPV6) && name == RECEIVE_ECN)
        return 0;
    return ((set_option)(void *)real("setsockopt"))(socket, level, name, value, length);
}

static int WSAAPI get_known_option(SOCKET socket, int level, int name, char *value, int *length)
{
    int result = ((get_option)(void *)real("getsockopt"))(socket, level, name, value, length);
    if (result != 0 && level == IPPROTO_IPV6 && name == IPV6_V6ONLY && WSAGetLastError() == WSAEOPNOTSUPP) {
        memset(value, 0, (size_t)*length);
        return 0;
    }
    return result;
}

set_option __imp_setsockopt = set_known_option;
get_option __imp_getsockopt = get_known_option;
