/* bcryptprimitives.dll for Wine 8, which lacks it: the one function that Rust's standard library asks of it for random
 * bytes, answered by advapi32's generator. Windows itself has the library, and this file never goes there. */

#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG count); /* advapi32 exports RtlGenRandom by this name alone */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count)
{
    return SystemFunction036(bytes, (ULONG)count);
}
