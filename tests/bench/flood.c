/* Sends COUNT datagrams that a shield blocks, to one address or to COUNT of them:
 * flood COUNT same|many [PORT].  Prints the seconds taken.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    long count = atol(argv[1]);
    int many = !strcmp(argv[2], "many");
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(argc > 3 ? atoi(argv[3]) : 443)};
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (long i = 0; i < count; i++) {
        to.sin_addr.s_addr = htonl(0xC6120000u + (many ? (unsigned)i : 0)); /* 198.18.0.0/15 */
        sendto(fd, "?", 1, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to); /* EPERM: it was blocked */
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f\n", (ended.tv_sec - began.tv_sec) + (ended.tv_nsec - began.tv_nsec) / 1e9);
    return 0;
}
