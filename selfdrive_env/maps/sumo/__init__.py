"""Reads road networks of Eclipse SUMO: https://sumo.dlr.de/docs/Networks/SUMO_Road_Networks.html."""
