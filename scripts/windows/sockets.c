/* For Wine 8, which has no IP_RECVECN and no IPV6_RECVECN: these two options, which QUIC sockets want, succeed here without
 * effect, so that no packet arrives with congestion marks. Linked into the programs that run under Wine, and into no other:
 * it takes the place of the import of setsockopt. */

#include <stdio.h>
#include <winsock2.h>
#include <ws2tcpip.h>

#define RECEIVE_ECN 50 /* IP_RECVECN and IPV6_RECVECN, ws2ipdef.h of the Windows SDK */

typedef int(WSAAPI *set_option)(SOCKET, int, int, const char *, int);

static int WSAAPI set_known_option(SOCKET socket, int level, int name, const char *value, int length)
{
    static set_option real;
    if (!real)
        real = (set_option)(void *)GetProcAddress(GetModuleHandleA("ws2_32.dll"), "setsockopt");
    if ((level == IPPROTO_IP || level == IPPROTO_IPV6) && name == RECEIVE_ECN)
        return 0;
    int result = real(socket, level, name, value, length);
    if (result != 0 && WSAGetLastError() == WSAEOPNOTSUPP) {
        fprintf(stderr, "unsupported socket option: level %d, name %d\n", level, name);
        return 0;
    }
    return result;
}

set_option __imp_setsockopt = set_known_option;
