#!/usr/bin/perl
# A Perl CGI of the old school.
use strict;
use warnings;
binmode STDIN;
my $form = $ENV{QUERY_STRING};
if ($ENV{REQUEST_METHOD} eq 'POST') {
    read(STDIN, $form, $ENV{CONTENT_LENGTH}) == $ENV{CONTENT_LENGTH} or die "short body";
}
my %field;
for my $pair (split /&/, $form) {
    my ($name, $value) = split /=/, $pair, 2;
    for ($name, $value) { tr/+/ /; s/%([0-9A-Fa-f]{2})/chr hex $1/ge; }
    $field{$name} = $value;
}
if ($field{error}) { print "Status: 422 Unprocessable\r\n"; warn "the form says: $field{error}\n"; }
print "Content-Type: text/plain; charset=utf-8\r\nSet-Cookie: seen=1\r\nSet-Cookie: name=$field{name}\r\n\r\n";
print "$_ is $field{$_}\n" for sort keys %field;
